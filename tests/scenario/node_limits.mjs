// A node at its limits: many clients, slow ones, a tenant whose queue is full (node_limits.sh).
import net from 'node:net'
import { ask, base, call, check, equal, finish, part, pause, raw, statusOf, until } from './client.mjs'

const open = () => new Promise((resolve) => {
  const socket = net.connect(Number(base.port), base.hostname)
  socket.on('error', () => {})
  socket.got = ''
  socket.on('data', (piece) => { socket.got += piece.toString('latin1') })
  socket.on('connect', () => resolve(socket))
})

await part('a tenant at its limit', async () => {
  equal('a tenant gets a short queue', (await ask('PUT', '/v1/tenants/busy', { body: '{"queue": 4, "workers": 1}' })).status, 204)
  equal('a weight of 0 is none', (await ask('PUT', '/v1/tenants/busy', { body: '{"cpu_weight": 0}' })).status, 400)
  equal('a setting nobody knows is refused', (await ask('PUT', '/v1/tenants/busy', { body: '{"queues": 1}' })).status, 400)
  const rooms = (await ask('GET', '/v1/top')).json.workers.find((w) => w.tenant === 'busy')?.instances_max
  check('its worker has said how many it takes', rooms > 0, String(rooms))
  const inputs = '"sleep 4000"\n'.repeat(Math.min(rooms + 4 + 50, 9000))
  const batch = await ask('POST', '/v1/batch/busy/acts', { body: inputs })
  const rows = batch.text.trim().split('\n').map((l) => JSON.parse(l))
  const refused = rows.filter((r) => r.error)
  check('beyond its worker and its queue calls are refused', refused.length >= 40 && refused.every((r) => /wait already/.test(r.error)), `${rooms} rooms, ${refused.length} refused`, refused[0])
  const one = await call('busy/acts', 'echo')
  check('one alone with 429 and when to come again', one.status === 429 && one.headers['retry-after'] === '1', String(one.status), one.headers)
  equal('another tenant does not notice', (await call('default/acts', 'echo calm')).text, 'echo calm')
  await Promise.all(rows.filter((r) => r.call).map((r) => ask('DELETE', `/v1/calls/${r.call}`)))
  check('when they are gone there is room again', await until(async () => (await call('busy/acts', 'echo')).status === 200))
})

await part('slow clients', async () => {
  const began = Date.now()
  const slow = await open()
  slow.write('POST /v1/fn/default/acts HTTP/1.1\r\nHost: localhost\r\n')
  const closed = new Promise((resolve) => slow.on('close', resolve))
  const others = await Promise.all(Array.from({ length: 20 }, () => call('default/acts', 'echo fast')))
  check('a head that does not end holds nobody up', others.every((r) => r.status === 200))
  const reader = await open()
  reader.pause()
  reader.write('POST /v1/fn/default/acts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\nout 30000000')
  await pause(300)
  equal('an answer that nobody reads holds nobody up', (await call('default/acts', 'echo fast')).status, 200)
  reader.destroy()
  await closed
  check('and the head ends with 408 after its time', statusOf(slow.got) === 408 && Date.now() - began >= 9000, slow.got, String(Date.now() - began))
})

await part('many connections', async () => {
  const sockets = await Promise.all(Array.from({ length: 64 }, open))
  const late = await open()
  late.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  await pause(500)
  equal('beyond the connections one may have, a client waits', late.got, '')
  sockets.forEach((s) => s.destroy())
  check('and is served when others go', await until(() => late.got.includes('ok')), late.got)
})
finish()
