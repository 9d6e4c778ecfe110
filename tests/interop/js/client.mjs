// Calls a peer over the wire of /p2prpc/1, from docs/wire.md alone:
//   node client.mjs <multiaddr with /p2p/> <protocol>
// prints what came of each case as a line of JSON.
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const [HELLO, REQUEST, RESPONSE, ERROR] = [1, 2, 3, 4]
const JSON_CODEC = 4

const varint = (n) => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))])
const text = (s) => [...varint(Buffer.byteLength(s)), ...Buffer.from(s)]
const frame = (kind, fields) => Uint8Array.from([...varint(fields.length + 1), kind, ...fields])
const pairs = (metadata) => [...varint(metadata.length), ...metadata.flat().flatMap(text)]

function request (id, method, args, { codec = JSON_CODEC, metadata = [] } = {}) {
  const body = Buffer.from(JSON.stringify(args))
  const deadline = 10_000_001
  return frame(REQUEST, [
    ...varint(id), ...text(method), ...varint(codec), ...varint(deadline), ...pairs(metadata), ...varint(body.length), ...body
  ])
}

class Reader {
  constructor (bytes) { this.bytes = bytes; this.at = 0 }
  varint () {
    let number = 0
    for (let shift = 1; ; shift *= 128) {
      const byte = this.bytes[this.at++]
      number += (byte & 127) * shift
      if (byte < 128) return number
    }
  }
  take (length) { return this.bytes.subarray(this.at, (this.at += length)) }
  text () { return Buffer.from(this.take(this.varint())).toString() }
  pairs () { return Array.from({ length: this.varint() }, () => [this.text(), this.text()]) }
}

async function * frames (stream) {
  let bytes = Buffer.alloc(0)
  for await (const chunk of stream) {
    bytes = Buffer.concat([bytes, chunk.subarray()])
    while (bytes.length > 0) {
      const reader = new Reader(bytes)
      let length
      try { length = reader.varint() } catch { break }
      if (Number.isNaN(length) || bytes.length < reader.at + length) break
      yield reader.take(length)
      bytes = bytes.subarray(reader.at)
    }
  }
}

function answer (fields) {
  const reader = new Reader(fields.subarray(1))
  const id = reader.varint()
  if (fields[0] === RESPONSE) {
    const metadata = reader.pairs()
    const body = reader.take(reader.varint())
    return { id, value: JSON.parse(Buffer.from(body).toString()), metadata }
  }
  const [code, delivery, message] = [reader.varint(), reader.varint(), reader.text()]
  const metadata = reader.pairs()
  return { id, code, delivery, message, metadata }
}

const node = await createLibp2p({ transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] })
const stream = await node.dialProtocol(multiaddr(process.argv[2]), process.argv[3])
const waiting = new Map()
let said

;(async () => {
  for await (const fields of frames(stream)) {
    if (fields[0] === HELLO) said = fields.length
    if (fields[0] !== RESPONSE && fields[0] !== ERROR) continue
    const came = answer(fields)
    waiting.get(came.id)?.(came)
  }
})()

let last = 0
function call (method, args, options) {
  const id = ++last
  const came = new Promise((resolve) => waiting.set(id, resolve))
  stream.send(request(id, method, args, options))
  return came
}
const tell = (name, came) => console.log(JSON.stringify({ case: name, ...came }))

// A feature that nobody knows, and an entry too.
stream.send(frame(HELLO, [6, 2, ...varint(300), 99, 1, 7]))
tell('echo', await call('Target.Echo', { text: 'grüße' }))
tell('not served', await call('Target.Nothing', {}))
tell('unknown codec', await call('Target.Echo', {}, { codec: 99 }))
tell('unknown key', await call('Target.Echo', { text: 'k' }, { metadata: [['p2prpc-later', '1'], ['mine', '2']] }))
stream.send(frame(16, [1, 2, 3]))
stream.send(frame(255, []))
tell('unknown kinds', await call('Target.Echo', { text: 'after them' }))
const many = await Promise.all(Array.from({ length: 64 }, (_, n) => call('Target.Echo', { text: String(n) })))
tell('64 at once', { all: many.every((came, n) => came.value === String(n)) })
tell('hello', { came: said > 0 })
await stream.close()
await node.stop()
process.exit(0)
