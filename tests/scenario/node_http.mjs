// The HTTP interface of a node without tokens, as a client sees it (node_http.sh starts the node).
import http from 'node:http'
import net from 'node:net'
import fs from 'node:fs'
import { ask, base, call, check, equal, finish, part, pause, raw, statusOf, until } from './client.mjs'

const problem = (r) => r.headers['content-type'] === 'application/problem+json' && r.json.status === r.status && r.json.detail.length > 5

await part('a call', async () => {
  const r = await call('default/acts', 'echo hello')
  equal('a call is answered with its output', r.text, 'echo hello')
  check('and says which call, version, node and how warm', /^[0-9a-f]{16}$/.test(r.headers['atoll-call']) &&
    /^[0-9a-f]{32}$/.test(r.headers['atoll-version']) && r.headers['atoll-node'] === '1' &&
    /^(hot|warm|cold)$/.test(r.headers['atoll-temperature']), r.headers)
  check('and where the time went', /^queue;dur=[\d.]+, restore;dur=[\d.]+, run;dur=[\d.]+$/.test(r.headers['server-timing']), r.headers)
  const short = await call(`default/acts?version=${r.headers['atoll-version'].slice(0, 8)}`, 'code 0')
  equal('eight digits name a version', short.status, 200)
  equal('an alias that is not there is 404', (await call('default/acts?alias=nope', 'echo')).status, 404)
})

await part('outcomes', async () => {
  const fail = await call('default/acts', 'fail 7')
  check('a function that fails is 502 with its code', fail.status === 502 && fail.headers['atoll-code'] === '7' && problem(fail), fail.text)
  check('and its words', fail.json.detail.includes('as asked'), fail.text)
  equal('one that returns a code is 502', (await call('default/acts', 'code 3')).headers['atoll-code'], '3')
  const trap = await call('default/acts', 'trap')
  check('a trap is 500', trap.status === 500 && problem(trap), trap.text)
  const late = await call('default/acts?timeout=100ms', 'spin')
  check('a call past its time is 504', late.status === 504 && problem(late), late.text)
  equal('a timeout that is none is 400', (await call('default/acts?timeout=soon', 'echo')).status, 400)
  equal('a timeout of nan is 400', (await call('default/acts?timeout=nan', 'echo')).status, 400)
  const none = await call('default/nobody', '')
  check('an unknown function is 404', none.status === 404 && problem(none), none.text)
  equal('a name that is none is 404', (await call('Default/acts', '')).status, 404)
  equal('another method is 405', (await ask('PATCH', '/v1/fn/default/acts')).status, 405)
  equal('an unknown path is 404', (await ask('GET', '/v2')).status, 404)
  equal('a big output arrives whole', (await call('default/acts', 'out 3000000')).body.length, 3000000)
  const big = Buffer.alloc(1 << 20, 'echo ')
  equal('an input larger than a record arrives', (await call('default/acts', big)).status, 200)
  const large = await call('default/acts', Buffer.alloc((2 << 20) + 1))
  equal('an input beyond the limit is 413', large.status, 413)
  check('which says how much is allowed, and by what', large.json?.detail === 'the body is larger than the 2097152 bytes that are allowed by the setting limits.input', large.text)
})

await part('asynchronous calls', async () => {
  const r = await call('default/acts', 'sleep 300', { headers: { prefer: 'respond-async' } })
  check('a call that need not be waited for is 202', r.status === 202 && /^\/v1\/calls\/[0-9a-f]{16}$/.test(r.headers.location), r.headers)
  const id = r.json.call
  equal('its output is 409 before its end', (await ask('GET', `/v1/calls/${id}/output`)).status, 409)
  const soon = await ask('GET', `/v1/calls/${id}?wait=1ms`)
  check('waiting ends when its time is over', ['running', 'pending'].includes(soon.json.status), soon.text)
  const done = await ask('GET', `/v1/calls/${id}?wait=20s`)
  check('or with the call', done.json.status === 'ok' && done.json.function === 'default/acts', done.text)
  const echo = (await call('default/acts', 'echo kept', { headers: { prefer: 'wait=5, respond-async' } })).json.call
  await ask('GET', `/v1/calls/${echo}?wait=20s`)
  equal('the output is kept', (await ask('GET', `/v1/calls/${echo}/output`)).text, 'echo kept')
  equal('and can be had again', (await ask('GET', `/v1/calls/${echo}/output`)).text, 'echo kept')
  equal('a call that never was is 404', (await ask('GET', '/v1/calls/00000000000000aa')).status, 404)
  equal('an id that is none is 404', (await ask('GET', '/v1/calls/xyz')).status, 404)
  equal('a parameter nobody knows is 400', (await ask('GET', `/v1/calls/${echo}?wiat=1s`)).status, 400)
  const spin = (await call('default/acts', 'spin', { headers: { prefer: 'respond-async' } })).json.call
  equal('a call is cancelled', (await ask('DELETE', `/v1/calls/${spin}`)).status, 204)
  equal('and ends so', (await ask('GET', `/v1/calls/${spin}?wait=20s`)).json.status, 'cancelled')
  equal('its output is 503', (await ask('GET', `/v1/calls/${spin}/output`)).status, 503)
  const fan = (await call('default/acts', 'fan 5', { headers: { prefer: 'respond-async' } })).json.call
  await ask('GET', `/v1/calls/${fan}?wait=20s`)
  const graph = await ask('GET', `/v1/calls/${fan}/graph`)
  check('the graph has the calls below', JSON.stringify(graph.json).split('"ok"').length >= 7, graph.text)
})

await part('idempotency', async () => {
  const once = { prefer: 'respond-async', 'idempotency-key': 'order 17' }
  const [a, b] = await Promise.all([
    call('default/acts', 'echo a', { headers: once }), call('default/acts', 'echo a', { headers: once })])
  check('the same key twice at once makes one call', a.status === 202 && b.status === 202 && a.json.call === b.json.call, a.text, b.text)
  equal('and later the same', (await call('default/acts', 'echo a', { headers: once })).json.call, a.json.call)
  const other = await call('default/acts', 'echo a', { headers: { ...once, 'idempotency-key': 'order 18' } })
  check('another key another', other.json.call !== a.json.call, other.text)
  const keys = await Promise.all(Array.from({ length: 40 }, () =>
    call('default/acts', 'echo x', { headers: { prefer: 'respond-async', 'idempotency-key': 'crowd' } })))
  equal('forty at once are one', new Set(keys.map((r) => r.json.call)).size, 1)
  equal('a key that is too long is 400', (await call('default/acts', '', { headers: { ...once, 'idempotency-key': 'k'.repeat(300) } })).status, 400)
})

await part('callbacks', async () => {
  const got = []
  const server = http.createServer((request, response) => {
    const pieces = []
    request.on('data', (p) => pieces.push(p))
    request.on('end', () => {
      got.push({ headers: request.headers, body: Buffer.concat(pieces).toString() })
      response.writeHead(got.length === 1 ? 500 : 204).end()
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${server.address().port}/done`
  const r = await call('default/acts', 'echo posted', { headers: { 'atoll-callback': url } })
  equal('a call with a callback is 202', r.status, 202)
  check('its result is posted, and again after a failure', await until(() => got.length >= 2), got)
  check('with call, status and output', got[1]?.body === 'echo posted' && got[1].headers['atoll-call'] === r.json.call && got[1].headers['atoll-status'] === 'ok', got)
  server.close()
  equal('a host that is not listed is 403', (await call('default/acts', '', { headers: { 'atoll-callback': 'http://169.254.169.254/' } })).status, 403)
  equal('a URL that is none is 400', (await call('default/acts', '', { headers: { 'atoll-callback': 'nonsense' } })).status, 400)
})

await part('batches', async () => {
  const lines = await ask('POST', '/v1/batch/default/acts', { body: '"echo 1"\n"echo 2"\n\n"fail 3"' })
  const rows = lines.text.trim().split('\n').map((l) => JSON.parse(l))
  check('NDJSON is as many calls, in order', lines.status === 202 && rows.length === 3 && rows.every((r, i) => r.index === i && r.call), lines.text)
  await ask('GET', `/v1/calls/${rows[1].call}?wait=20s`)
  equal('each with its output', (await ask('GET', `/v1/calls/${rows[1].call}/output`)).text, 'echo 2')
  equal('and its outcome', (await ask('GET', `/v1/calls/${rows[2].call}?wait=20s`)).json.status, 'failed')
  const array = await ask('POST', '/v1/batch/default/acts', { body: '["echo 1", {"a": 1}]' })
  equal('so is an array', array.text.trim().split('\n').length, 2)
  equal('an empty batch is 400', (await ask('POST', '/v1/batch/default/acts', { body: '[]' })).status, 400)
  equal('a line that is no JSON is 400', (await ask('POST', '/v1/batch/default/acts', { body: '"a"\nb' })).status, 400)
  equal('too many inputs are 413', (await ask('POST', '/v1/batch/default/acts', { body: '1\n'.repeat(10001) })).status, 413)
})

await part('heads', async () => {
  const r = await call('default/heads', '', { headers: { authorization: 'Bearer x', cookie: 'a=b', 'x-mine': 'seen', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' } })
  check('a function sees the head of its request', r.text.startsWith('POST /v1/fn/default/heads\n') && /x-mine: seen/i.test(r.text), r.text)
  check('without what authorises it', !/authorization|cookie/i.test(r.text), r.text)
  const set = await call('default/heads', '201\nx-own: yes\ncontent-type: text/plain\n')
  check('and sets status and fields', set.status === 201 && set.headers['x-own'] === 'yes' && set.headers['content-type'] === 'text/plain' && set.text === 'body', set.headers)
  const hop = await call('default/heads', '200\ntransfer-encoding: chunked\nconnection: upgrade\ncontent-length: 99\n')
  check('but none of the connection', hop.text === 'body' || hop.status >= 500, hop.headers, hop.text)
  for (const bad of ['200\nx: a\rb\n', '200\nx y: a\n', '200\n: a\n', '99\nx: a\n', '200\nx: a\u0000b\n', '200\nx a\n', '700\nx: a\n']) {
    const answer = await call('default/heads', bad)
    check(`a head that is none never reaches the client: ${JSON.stringify(bad)}`, answer.status >= 500 && answer.headers.x === undefined, String(answer.status), answer.headers)
  }
  const get = await ask('GET', '/v1/fn/default/heads?x=1&y=%20')
  check('GET calls, with the query', get.text.startsWith('GET /v1/fn/default/heads?x=1&y=%20\n'), get.text)
  const head = await raw('HEAD /v1/fn/default/heads HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  check('HEAD has no body', statusOf(head) === 200 && head.endsWith('\r\n\r\n'), head)
})

const upload = (body, type = 'application/wasm', path = '/v1/functions/default/up') => ask('PUT', path, { body, headers: { 'content-type': type } })
const module = fs.readFileSync(process.env.ACTS)
const form = (parts) => Buffer.concat([...parts.flatMap(([name, bytes]) => [
  Buffer.from(`--edge\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n`), Buffer.from(bytes), Buffer.from('\r\n')]), Buffer.from('--edge--\r\n')])
const multipart = 'multipart/form-data; boundary=edge'

await part('uploads', async () => {
  const first = await upload(module)
  check('a bare module is a new version', first.status === 201 && first.json.function === 'default/up', first.text)
  equal('the same again is nothing new', (await upload(module)).status, 200)
  const [x, y] = await Promise.all([1, 2].map(() => upload(form([['module', module], ['manifest', '{"timeout":"2s"}']]), multipart)))
  check('a form with a manifest is another, made once', x.json.version === y.json.version && x.json.version !== first.json.version && [x, y].filter((r) => r.status === 201).length >= 1, x.text, y.text)
  const seen = await ask('GET', '/v1/functions/default/up')
  check('both are described, and the manifest', seen.json.versions.length === 2 && JSON.stringify(seen.json.manifest).includes('2000000000ns'), seen.text)
  for (const [what, body, type, status, stage] of [
    ['a module that is none', 'no module', 'application/wasm', 422, 'validate'],
    ['an empty body', '', 'application/wasm', 400, 'receive'],
    ['a cut module', module.subarray(0, module.length >> 1), 'application/wasm', 422, 'validate'],
    ['a form that ends early', form([['module', module]]).subarray(0, 5000), multipart, 400, 'receive'],
    ['a form without a module', form([['manifest', '{}']]), multipart, 400, 'receive'],
    ['a part twice', form([['module', module], ['module', module]]), multipart, 400, 'receive'],
    ['a part nobody knows', form([['module', module], ['other', 'x']]), multipart, 400, 'receive'],
    ['a manifest with an unknown key', form([['module', module], ['manifest', '{"timeuot":"2s"}']]), multipart, 422, 'receive'],
    ['a module beyond the limit', Buffer.alloc((4 << 20) + 100000), 'application/wasm', 413, null]]) {
    const r = await upload(body, type)
    check(`${what} is ${status}${stage ? ` at ${stage}` : ''}`, r.status === status && (!stage || r.json.stage === stage), String(r.status), r.text)
  }
  equal('a form without boundary is refused', Math.floor((await upload('x', 'multipart/form-data')).status / 100), 4)
  equal('an alias that is none is 400', (await upload(module, 'application/wasm', '/v1/functions/default/up?alias=A_B')).status, 400)
  await raw(`PUT /v1/functions/default/up HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/wasm\r\nContent-Length: ${module.length}\r\n\r\n` + module.subarray(0, 3000).toString('latin1'), { ms: 200 })
  check('a client that goes away leaves no file', await until(() => fs.readdirSync(`${process.env.DATA}/uploads`).length === 0), fs.readdirSync(`${process.env.DATA}/uploads`))
  equal('through all of this the function is what it was', (await call('default/up', 'echo up')).text, 'echo up')
})

await part('aliases', async () => {
  const alias = (body, name = 'live') => ask('POST', `/v1/functions/default/up/alias/${name}`, { body: JSON.stringify(body) })
  const [now, before] = (await ask('GET', '/v1/functions/default/up')).json.versions.map((v) => v.version)
  equal('an alias moves', (await alias({ version: before })).status, 204)
  equal('and the next call is of that version', (await call('default/up', 'echo')).headers['atoll-version'], before)
  equal('it rolls back', (await alias({ rollback: true })).status, 204)
  equal('to what it was', (await call('default/up', 'echo')).headers['atoll-version'], now)
  equal('a new alias', (await alias({ version: before.slice(0, 8) }, 'canary')).status, 204)
  equal('is called by name', (await call('default/up?alias=canary', 'echo')).headers['atoll-version'], before)
  equal('one without a past cannot roll back', (await alias({ rollback: true }, 'canary')).status, 404)
  equal('nor move to nothing', (await alias({ version: '00000000' })).status, 404)
  equal('a body that says neither is 400', (await alias({})).status, 400)
  const crowd = await Promise.all([ask('DELETE', '/v1/functions/default/up'), alias({ version: before }), upload(module), ask('DELETE', '/v1/functions/default/up'), alias({ version: now })])
  check('removed and changed at once, each gets an answer', crowd.every((r) => [200, 201, 204, 404, 409].includes(r.status)), crowd.map((r) => r.status))
  await ask('DELETE', '/v1/functions/default/up')
  equal('removed, it is gone', (await call('default/up', '')).status, 404)
})

await part('state', async () => {
  const at = '/v1/state/default/a%2Fb%20c'
  const state = (method, body, headers = {}, path = at) => ask(method, path, { body, headers })
  const put = await state('PUT', 'hello world')
  check('a value is put', [200, 201, 204].includes(put.status) && /^"\d+"$/.test(put.headers.etag), put.headers)
  const get = await state('GET')
  check('and got, with its version', get.text === 'hello world' && get.headers.etag === put.headers.etag, get.headers)
  equal('not again when it is known', (await state('GET', undefined, { 'if-none-match': get.headers.etag })).status, 304)
  const range = await state('GET', undefined, { range: 'bytes=6-8' })
  check('a range is 206', range.status === 206 && range.text === 'wor' && range.headers['content-range'] === 'bytes 6-8/11', range.headers)
  equal('the end of it', (await state('GET', undefined, { range: 'bytes=-5' })).text, 'world')
  const beyond = await state('GET', undefined, { range: 'bytes=11-' })
  check('beyond it is 416', beyond.status === 416 && beyond.headers['content-range'] === 'bytes */11', beyond.headers)
  equal('over another version is 412', (await state('PUT', 'x', { 'if-match': '"999"' })).status, 412)
  equal('over this one is fine', Math.floor((await state('PUT', 'hello World', { 'if-match': get.headers.etag })).status / 100), 2)
  equal('where nothing may be is 412', (await state('PUT', 'x', { 'if-match': '"0"' })).status, 412)
  equal('a piece is patched', Math.floor((await state('PATCH', 'W0', {}, at + '?offset=6')).status / 100), 2)
  for (const offset of ['', 'six', '-1', '+6', '6x', '0x6', '99999999999999999999']) {
    equal(`an offset "${offset}" is none`, (await state('PATCH', 'x', {}, `${at}?offset=${encodeURIComponent(offset)}`)).status, 400)
  }
  equal('a whole value is not put by pieces', (await state('PUT', 'x', { 'content-range': 'bytes 0-0/*' })).status, 400)
  equal('a piece by Content-Range', Math.floor((await state('PATCH', 'HE', { 'content-range': 'bytes 0-1/*' })).status / 100), 2)
  equal('and both are there', (await state('GET')).text, 'HEllo W0rld')
  equal('entries are appended', (await ask('POST', '/v1/state/default/log/entries', { body: 'one' })).json.index, 0)
  equal('in order', (await ask('POST', '/v1/state/default/log/entries', { body: 'two' })).json.index, 1)
  const entries = await ask('GET', '/v1/state/default/log?entries=1')
  check('and read', entries.text.includes(Buffer.from('two').toString('base64')) && !entries.text.includes(Buffer.from('one').toString('base64')), entries.text)
  const list = await ask('GET', '/v1/state/default?prefix=a%2F')
  check('keys are listed', list.text.includes('a/b c') && !list.text.includes('"log"'), list.text)
  equal('a value is removed', (await state('DELETE')).status, 204)
  equal('and gone', (await state('GET')).status, 404)
  const big = Buffer.alloc(64 << 20, '0123456789abcde\n')
  equal('64 MiB are put', Math.floor((await state('PUT', big, {}, '/v1/state/default/big')).status / 100), 2)
  const back = await state('GET', undefined, {}, '/v1/state/default/big')
  check('and come back', back.body.equals(big), String(back.status), String(back.body.length))
  equal('or the middle of it', (await state('GET', undefined, { range: 'bytes=32000001-32000005' }, '/v1/state/default/big')).text, '12345')
  const reading = new Promise((resolve) => {
    http.get({ host: base.hostname, port: base.port, path: '/v1/state/default/big' }, (response) => {
      let bytes = 0
      const kinds = new Set()
      response.once('readable', async () => {
        await state('PUT', Buffer.alloc(64 << 20, 'Z'), {}, '/v1/state/default/big')
        response.on('data', (piece) => {
          bytes += piece.length
          if (piece.includes('Z')) kinds.add('new')
          if (piece.includes('0')) kinds.add('old')
        })
        response.on('end', () => resolve({ bytes, kinds: [...kinds] }))
        response.on('error', () => resolve({ bytes: -1, kinds: [...kinds] }))
        response.on('aborted', () => resolve({ bytes: -1, kinds: [...kinds] }))
      })
    })
  })
  const r = await reading
  check('a value that changes while it is read is never a mixture called whole', r.bytes !== 64 << 20 || r.kinds.length === 1, r)
  await state('DELETE', undefined, {}, '/v1/state/default/big')
})

await part('files', async () => {
  const at = '/v1/files/default/dir/a%20file.txt'
  equal('a file is put', Math.floor((await ask('PUT', at, { body: 'content' })).status / 100), 2)
  equal('and got', (await ask('GET', at)).text, 'content')
  check('and listed', (await ask('GET', '/v1/files/default?prefix=dir/')).text.includes('dir/a file.txt'))
  for (const bad of ['/v1/files/default/..%2Fx', '/v1/files/default/a//b', '/v1/files/default/./a', '/v1/files/default/a%00b']) {
    const r = await raw(`PUT ${bad} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx`)
    check(`a path that is none is refused: ${bad}`, statusOf(r) >= 400 && statusOf(r) < 500, r)
  }
  equal('and removed', (await ask('DELETE', at)).status, 204)
  equal('gone', (await ask('GET', at)).status, 404)
})

await part('the shortener', async () => {
  const made = await call('default/shortener', 'https://example.org/')
  check('shortens', made.status === 201 && made.headers.location === `?id=${made.text.trim()}`, made.headers, made.text)
  const follow = await ask('GET', `/v1/fn/default/shortener${made.headers.location}`)
  check('and sends on', follow.status === 302 && follow.headers.location === 'https://example.org/', follow.headers)
})

await part('who is asked', async () => {
  for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '10.0.0.1']) {
    const r = await ask('GET', '/v1/functions', { headers: { host } })
    equal(`a request to ${host} is 403`, r.status, 403)
  }
  for (const host of ['localhost', `127.0.0.1:${base.port}`, '[::1]', 'localhost:1']) {
    equal(`one to ${host} is answered`, (await ask('GET', '/v1/functions', { headers: { host } })).status, 200)
  }
  for (const origin of ['http://evil.example', 'https://localhost.evil.example', 'http://127.0.0.1@evil.example', 'null', 'http://10.0.0.1']) {
    const r = await ask('POST', '/v1/fn/default/acts', { headers: { origin }, body: 'echo page' })
    equal(`a page from ${origin} calls nothing`, r.status, 403)
  }
  for (const origin of ['http://localhost:3000', `http://127.0.0.1:${base.port}`, 'http://[::1]:80']) {
    const r = await ask('POST', '/v1/fn/default/acts', { headers: { origin }, body: 'echo page' })
    equal(`one from ${origin} does`, r.text, 'echo page')
  }
})

await part('smuggling', async () => {
  const line = 'POST /v1/fn/default/acts HTTP/1.1\r\nHost: localhost\r\n'
  for (const [what, text] of [
    ['both lengths', line + 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', line + 'Content-Length: 4\r\nContent-Length: 5\r\n\r\necho'],
    ['a coding but chunked', line + 'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['a negative length', line + 'Content-Length: -1\r\n\r\n'],
    ['a length with a plus', line + 'Content-Length: +4\r\n\r\necho'],
    ['a folded line', line + 'X: a\r\n b\r\nContent-Length: 0\r\n\r\n'],
    ['a space before the colon', line + 'Content-Length : 0\r\n\r\n'],
    ['a bare line feed', 'POST /v1/fn/default/acts HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n'],
    ['a control byte', line + 'X: a\x01b\r\nContent-Length: 0\r\n\r\n'],
    ['no host', 'POST /v1/fn/default/acts HTTP/1.1\r\nContent-Length: 0\r\n\r\n'],
    ['two hosts', line + 'Host: other\r\nContent-Length: 0\r\n\r\n'],
    ['a chunk without end', line + 'Transfer-Encoding: chunked\r\n\r\nzz\r\n']]) {
    const got = await raw(text + 'GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n')
    check(`${what}: one answer, 400, and the end`, statusOf(got) === 400 && got.split('HTTP/1.1 ').length === 2, got)
  }
  equal('a long request line is 414', statusOf(await raw(`GET /${'a'.repeat(9000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`)), 414)
  equal('too many fields are 431', statusOf(await raw('GET / HTTP/1.1\r\nHost: localhost\r\n' + Array.from({ length: 120 }, (_, i) => `X-${i}: a\r\n`).join('') + '\r\n')), 431)
  equal('a body announced beyond the limit is 413 before it comes', statusOf(await raw(line + 'Content-Length: 99999999\r\n\r\n')), 413)
  const cont = await raw(line + 'Content-Length: 6\r\nExpect: 100-continue\r\nConnection: close\r\n\r\necho 1')
  check('Expect: 100-continue is honoured', cont.startsWith('HTTP/1.1 100 ') && cont.endsWith('echo 1'), cont)
  const two = await raw(line + 'Content-Length: 6\r\n\r\necho 1' + line + 'Content-Length: 6\r\nConnection: close\r\n\r\necho 2')
  check('pipelined requests are answered in order', two.indexOf('echo 1') > 0 && two.indexOf('echo 2') > two.indexOf('echo 1'), two)
})

const live = async () => (await ask('GET', '/v1/top')).json.live_calls
await part('clients that go', async () => {
  const before = await live()
  const socket = net.connect(Number(base.port), base.hostname)
  socket.on('error', () => {})
  socket.write('POST /v1/fn/default/acts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nspin')
  check('a call runs while its client waits', await until(async () => await live() === before + 1))
  socket.destroy()
  check('and is cancelled when the client has gone', await until(async () => await live() === before))
})

await part('operations', async () => {
  equal('alive', (await ask('GET', '/healthz')).text, 'ok\n')
  equal('ready', (await ask('GET', '/readyz')).status, 200)
  const logs = await ask('GET', '/v1/logs?tenant=default&function=acts&back=1000')
  check('log lines are JSON', logs.text.trim().split('\n').filter(Boolean).every((l) => JSON.parse(l)), logs.text)
  const followed = new Promise((resolve) => {
    http.get({ host: base.hostname, port: base.port, path: '/v1/logs?tenant=default&back=0&follow=true' }, (response) => {
      let text = ''
      response.on('data', (piece) => {
        text += piece
        if (text.includes('a line of the log')) { response.destroy(); resolve(text) }
      })
    })
  })
  await pause(100)
  await call('default/acts', 'log 1')
  check('lines are followed as they come', (await followed).includes('"guest":true'))
  const event = await new Promise((resolve) => {
    http.get({ host: base.hostname, port: base.port, path: '/v1/events' }, (response) => {
      let text = ''
      response.on('data', (piece) => {
        text += piece
        if (text.split('\n\n').length > 2) { response.destroy(); resolve({ text, type: response.headers['content-type'] }) }
      })
    })
  })
  check('events come, each second', event.type === 'text/event-stream' && event.text.split('\n\n').slice(0, 2).every((e) => JSON.parse(e.replace(/^data: /, '')).uptime_s > 0), event.text)
  fs.writeFileSync(process.env.METRICS, (await ask('GET', '/metrics')).text)
  const page = await ask('GET', '/')
  check('the page may load nothing from elsewhere', page.headers['content-security-policy'].includes("default-src 'none'"))
})
finish()
