// What the HTTP scenarios share: a client that sees everything, and TAP.
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'

export const base = new URL(process.env.ATOLL_NODE ?? 'http://127.0.0.1:1')
let failures = 0

export function check (name, good, ...seen) {
  console.log(`${good ? 'ok' : 'not ok'} - ${name}`)
  if (good) return
  failures++
  for (const one of seen) {
    console.log('# ' + (typeof one === 'string' ? one : JSON.stringify(one))?.slice(0, 600).replaceAll('\n', '\n# '))
  }
}

export function equal (name, is, wanted) {
  check(name, is === wanted, `is ${String(is)}`, `wanted ${String(wanted)}`)
}

// Whatever a part throws is a failure of it, and the others go on.
export async function part (name, run) {
  try {
    await run()
  } catch (e) {
    check(`${name} goes through`, false, e.stack)
  }
}

export function finish () {
  process.exit(failures ? 1 : 0)
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Asks again until it holds or ten seconds are over.
export async function until (holds) {
  for (let i = 0; i < 200; i++) {
    if (await holds()) return true
    await pause(50)
  }
  return false
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 })

// One request: { status, headers, body (bytes), text, json }.
export function ask (method, path, { headers = {}, body, at = base, tls = {} } = {}) {
  const secure = at.protocol === 'https:'
  return new Promise((resolve, reject) => {
    const request = (secure ? https : http).request(
      {
        method,
        path,
        host: at.hostname.replace(/^\[|\]$/g, ''),
        port: at.port,
        headers: body === undefined ? headers : { 'content-length': Buffer.byteLength(body), ...headers },
        agent: secure ? undefined : agent,
        ...tls
      },
      (response) => {
        const pieces = []
        response.on('data', (piece) => pieces.push(piece))
        response.on('error', reject)
        response.on('end', () => {
          const bytes = Buffer.concat(pieces)
          resolve({
            status: response.statusCode,
            headers: response.headers,
            body: bytes,
            get text () { return bytes.toString() },
            get json () { return JSON.parse(bytes.toString()) }
          })
        })
      }
    )
    request.on('error', reject)
    request.end(body)
  })
}

// Sends bytes as they are and resolves with all that came back when the peer closed (or after ms).
export function raw (text, { ms = 3000, close = false } = {}) {
  return new Promise((resolve) => {
    let got = ''
    const socket = net.connect(Number(base.port), base.hostname)
    const timer = setTimeout(() => socket.destroy(), ms)
    socket.on('data', (piece) => { got += piece.toString('latin1') })
    socket.on('error', () => {})
    socket.on('close', () => { clearTimeout(timer); resolve(got) })
    socket.write(text)
    if (close) socket.destroy()
  })
}

export const statusOf = (text) => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0)

export const call = (name, input, options = {}) => ask('POST', `/v1/fn/${name}`, { body: input, ...options })
