import { connect, type Socket } from 'node:net'

const LF = 10
const TAIL = 256
// After the last chunk comes an empty one: the end of a response (RFC 9112 §7.1).
const END = '\r\n0\r\n\r\n'
// A reader without a limit would wait for ever for a server that forgot it.
const PATIENCE = 10_000

/** As bytes on the wire. */
export const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`

/**
 * Reads a response to its end, as cheaply as can be: no HTTP client, no parser of events that would itself be the bottleneck.
 * Resolves to the seconds it took; rejects unless exactly `events` came and `last` was the last of them.
 */
export function read (port: number, path: string, { events, last }: { events: number, last: string }): Promise<number> {
  return new Promise((resolve, reject) => {
    let startedAt = 0
    let seen = 0
    let previous = 0
    let tail = ''
    const socket = connect(port, '127.0.0.1', () => {
      startedAt = performance.now()
      socket.write(request(path))
    })
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`${path}: no byte for ${PATIENCE} ms after ${seen} events`)))
    socket.on('data', chunk => {
      // A blank line ends an event. HTTP's own lines end with CR LF, so there is no need to take the chunks apart.
      for (let at = 0; at < chunk.length; at++) {
        const byte = chunk[at]!
        if (byte === LF && previous === LF) seen++
        previous = byte
      }
      tail = (tail + chunk.toString('latin1', Math.max(0, chunk.length - TAIL))).slice(-TAIL)
      if (!tail.endsWith(END)) return
      const seconds = (performance.now() - startedAt) / 1000
      const right = seen === events && tail.endsWith(`\n${last}\n\n${END}`)
      socket.destroy(right ? undefined : new Error(`${path}: expected ${events} events to ${last}, got ${seen} to ${JSON.stringify(tail)}`))
      if (right) resolve(seconds)
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`${path}: closed after ${seen} events`)))
  })
}

/** Reads on, after a stall, until that text comes. */
export function readOn (socket: Socket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let tail = ''
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`no byte for ${PATIENCE} ms before ${text}`)))
    socket.on('data', chunk => {
      tail += chunk.toString('latin1')
      if (tail.includes(text)) resolve()
      tail = tail.slice(-text.length)
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error(`closed before ${text}`)))
    socket.resume()
  })
}

/** Asks and never reads. */
export function stall (port: number, path: string): Socket {
  const socket = connect(port, '127.0.0.1', () => socket.write(request(path)))
  return socket.pause()
}
