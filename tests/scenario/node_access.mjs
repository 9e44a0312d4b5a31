// Who may do what on a node that asks for tokens (node_access.sh starts it).
import fs from 'node:fs'
import { ask, base, call, check, equal, finish, part, raw, statusOf } from './client.mjs'

const admin = fs.readFileSync(`${process.env.DATA}/admin-token`, 'utf8').trim()
const as = (token, more = {}) => ({ headers: { authorization: `Bearer ${token}`, ...more } })
const make = async (scopes, tenant, more = {}) =>
  (await ask('POST', '/v1/tokens', { ...as(admin), body: JSON.stringify({ scopes, tenant, ...more }) })).json
const module = fs.readFileSync(process.env.ACTS)
const deploy = (token, tenant, name = 'acts') => ask('PUT', `/v1/functions/${tenant}/${name}`, { ...as(token, { 'content-type': 'application/wasm' }), body: module })

await part('the first token', async () => {
  equal('the first token lies in a file of its owner alone', fs.statSync(`${process.env.DATA}/admin-token`).mode & 0o777, 0o600)
  equal('and administers', (await ask('GET', '/v1/tokens', as(admin))).status, 200)
})

await part('none and wrong ones', async () => {
  const none = await ask('GET', '/v1/functions')
  check('without a token it is 401, and says how', none.status === 401 && none.headers['www-authenticate'] === 'Bearer', none.headers)
  for (const wrong of ['', 'x', `${admin}x`, admin.slice(0, -1), admin.replace(/.$/, (c) => c === 'A' ? 'B' : 'A'), admin.toLowerCase()]) {
    equal(`a wrong one is 401: ${wrong.length} characters`, (await ask('GET', '/v1/functions', as(wrong))).status, 401)
  }
  equal('another scheme is 401', (await ask('GET', '/v1/functions', { headers: { authorization: `Basic ${admin}` } })).status, 401)
  const twice = await raw(`GET /v1/functions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${admin}\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n`)
  equal('two of them are 400', statusOf(twice), 400)
  for (const open of ['/healthz', '/readyz', '/version', '/']) {
    equal(`${open} needs none`, (await ask('GET', open)).status, 200)
  }
  equal('metrics do', (await ask('GET', '/metrics')).status, 401)
  const at = new URL(process.env.METRICS_URL)
  equal('unless at their own address', (await ask('GET', '/metrics', { at })).status, 200)
  equal('which has nothing else', (await ask('GET', '/v1/functions', { at })).status, 404)
})

let alice, bob, caller
await part('scopes and tenants', async () => {
  alice = (await make(['deploy', 'invoke', 'state:r', 'state:w', 'files', 'logs'], 'alice')).token
  bob = (await make(['deploy', 'invoke', 'state:r', 'state:w'], 'bob')).token
  caller = (await make(['invoke'], 'alice')).token
  equal('a tenant deploys', (await deploy(alice, 'alice')).status, 201)
  equal('but not for another', (await deploy(alice, 'bob')).status, 403)
  equal('another does', (await deploy(bob, 'bob')).status, 201)
  equal('who may call, calls', (await call('alice/acts', 'echo a', as(caller))).text, 'echo a')
  equal('but deploys nothing', (await deploy(caller, 'alice')).status, 403)
  equal('nor reads state', (await ask('GET', '/v1/state/alice/key', as(caller))).status, 403)
  equal('nor calls another tenant', (await call('bob/acts', 'echo', as(caller))).status, 403)
  equal('nor administers', (await ask('GET', '/v1/tokens', as(alice))).status, 403)
  equal('nor stops the node', (await ask('POST', '/v1/nodes/1/drain', as(alice))).status, 403)
  equal('nor follows another log', (await ask('GET', '/v1/logs?tenant=bob', as(alice))).status, 403)
  equal('its own it reads', (await ask('GET', '/v1/logs', as(alice))).status, 200)
  const listed = await ask('GET', '/v1/functions', as(alice))
  check('a list has what is its own', listed.text.includes('alice/acts') && !listed.text.includes('bob/acts'), listed.text)
  const kept = (await call('alice/acts', 'echo secret', as(alice, { prefer: 'respond-async' }))).json.call
  await ask('GET', `/v1/calls/${kept}?wait=10s`, as(alice))
  for (const path of ['', '/output', '/graph']) {
    equal(`another tenant's call${path} is not there`, (await ask('GET', `/v1/calls/${kept}${path}`, as(bob))).status, 404)
  }
  equal('and cannot be cancelled', (await ask('DELETE', `/v1/calls/${kept}`, as(bob))).status, 404)
  equal('its own can be read', (await ask('GET', `/v1/calls/${kept}/output`, as(alice))).text, 'echo secret')
})

await part('grants', async () => {
  await ask('PUT', '/v1/state/alice/shared%2Fx', { ...as(alice), body: 'of alice' })
  const grant = (method, body) => ask(method, '/v1/tenants/alice/grants', { ...as(alice), body: JSON.stringify(body) })
  equal('a grant is made by its owner', (await grant('POST', { tenant: 'bob', function: 'acts' })).status, 204)
  equal('not by another', (await ask('POST', '/v1/tenants/alice/grants', { ...as(bob), body: '{"tenant":"bob","function":"*"}' })).status, 403)
  check('and listed', (await ask('GET', '/v1/tenants/alice/grants', as(alice))).text.includes('"acts"'))
  equal('a grant of both is none', (await grant('POST', { tenant: 'bob', function: 'a', prefix: 'b', rights: 'r' })).status, 400)
  equal('nor one with unknown rights', (await grant('POST', { tenant: 'bob', prefix: 'b', rights: 'x' })).status, 400)
  equal('and taken back', (await grant('DELETE', { tenant: 'bob', function: 'acts' })).status, 204)
  check('gone', !(await ask('GET', '/v1/tenants/alice/grants', as(alice))).text.includes('"acts"'))
  equal('what was never granted cannot be', (await grant('DELETE', { tenant: 'bob', function: 'other' })).status, 404)
  equal('keys are granted', (await grant('POST', { tenant: 'bob', prefix: 'p/', rights: 'rw' })).status, 204)
  equal('and taken back by their prefix alone', (await grant('DELETE', { tenant: 'bob', prefix: 'p/' })).status, 204)
  check('all of them', !(await ask('GET', '/v1/tenants/alice/grants', as(alice))).text.includes('p/'))
})

await part('tokens end', async () => {
  const short = await make(['invoke'], 'alice', { ttl_s: 1, note: 'short' })
  equal('a token with a time is good', (await call('alice/acts', 'echo', as(short.token))).status, 200)
  await new Promise((resolve) => setTimeout(resolve, 1200))
  equal('until it is over', (await call('alice/acts', 'echo', as(short.token))).status, 401)
  const one = await make(['invoke'], 'alice')
  equal('a token is revoked', (await ask('DELETE', `/v1/tokens/${one.id}`, as(admin))).status, 204)
  equal('and good no more', (await call('alice/acts', 'echo', as(one.token))).status, 401)
  const gone = await make(['invoke'], 'alice')
  const waiting = call('alice/acts', 'sleep 500', as(gone.token))
  await ask('DELETE', `/v1/tokens/${gone.id}`, as(admin))
  equal('a call under way when its token is revoked ends well', (await waiting).status, 200)
  for (const bad of [{ scopes: [] }, { scopes: ['invoke'] }, { scopes: ['root'], tenant: 'a' }, { scopes: ['invoke'], tenant: 'A B' }, { scopes: ['invoke'], tenant: 'a', extra: 1 }, { scopes: ['invoke'], tenant: 'a', ttl_s: 0 }, []]) {
    equal(`no token of ${JSON.stringify(bad)}`, (await ask('POST', '/v1/tokens', { ...as(admin), body: JSON.stringify(bad) })).status, 400)
  }
  const list = await ask('GET', '/v1/tokens', as(admin))
  check('a list of tokens shows none of them', !list.text.includes('atl_') && list.json.tokens.length >= 4, list.text)
})
fs.writeFileSync(process.env.TOKEN_FILE, alice)
finish()
