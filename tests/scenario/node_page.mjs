// The live page in a browser without a window, watched through the browser's debugging pipe
// (node_page.sh starts the node): messages are JSON texts that end in NUL.
import { spawn } from 'node:child_process'
import { base, call, check, finish, part, until } from './client.mjs'

const browser = spawn(process.env.BROWSER, ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
  `--user-data-dir=${process.env.PROFILE}`, '--remote-debugging-pipe', 'about:blank'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] })
const waiting = new Map()
const complaints = []
let last = 0
let text = ''
browser.stdio[4].on('data', (piece) => {
  text += piece
  for (let end; (end = text.indexOf('\0')) >= 0; text = text.slice(end + 1)) {
    const message = JSON.parse(text.slice(0, end))
    if (message.method === 'Runtime.exceptionThrown' || (message.method === 'Log.entryAdded' && message.params.entry.level === 'error')) complaints.push(message.params)
    waiting.get(message.id)?.(message)
    waiting.delete(message.id)
  }
})
const say = (method, params = {}, sessionId) => new Promise((resolve, reject) => {
  waiting.set(++last, (m) => m.error ? reject(new Error(m.error.message)) : resolve(m.result))
  browser.stdio[3].write(JSON.stringify({ id: last, method, params, sessionId }) + '\0')
})

let busy = true
async function load () {
  while (busy) await call('default/acts', 'echo load')
}

await part('the page', async () => {
  const { targetId } = await say('Target.createTarget', { url: 'about:blank' })
  const { sessionId } = await say('Target.attachToTarget', { targetId, flatten: true })
  await say('Runtime.enable', {}, sessionId)
  await say('Log.enable', {}, sessionId)
  await say('Page.navigate', { url: base.href }, sessionId)
  const evaluate = async (expression) =>
    (await say('Runtime.evaluate', { expression, returnByValue: true }, sessionId)).result.value
  const shown = (id) => evaluate(`document.getElementById('${id}').textContent`)
  check('it connects, and shows a node that does nothing', await until(async () => await shown('rate') === '0.0'), await shown('link'))
  check('and says so', (await shown('functions')).includes('No function has been called yet'))
  const loading = load()
  check('under load the calls per second rise', await until(async () => parseFloat((await shown('rate')).replaceAll(',', '')) > 1), await shown('rate'))
  const first = await shown('functions')
  check('the function is shown', first.includes('default/acts'), first)
  check('and its numbers move', await until(async () => await shown('functions') !== first))
  check('how long calls take', /^[\d.]+ (ns|µs|ms)$/.test(await shown('p50')), await shown('p50'))
  check('one worker', await shown('workers') === '1')
  check('the latest calls', (await shown('recent')).includes('default/acts'))
  check('and a line of the last seconds', (await evaluate("document.getElementById('line').getAttribute('points')")).split(' ').length >= 2)
  busy = false
  await loading
  check('when the load ends the rate falls', await until(async () => await shown('rate') === '0.0') || await until(async () => await shown('rate') === '0.0'), await shown('rate'))
  process.kill(Number(process.env.NODE_PID), 'SIGTERM')
  check('when the node goes the page says so', await until(async () => (await shown('link')).includes('does not answer')), await shown('link'))
  check('nothing in it went wrong before', complaints.filter((c) => !JSON.stringify(c).includes('ERR_CONNECTION')).length === 0, complaints)
})
const ended = new Promise((resolve) => browser.on('exit', resolve))
browser.kill()
await ended
finish()
