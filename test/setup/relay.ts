import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** A connection of a client, and its connection to a server. */
interface Pair {
  down: Socket
  up: Socket
  /** Bytes from the server that were not forwarded. */
  lost: number
}

/** Forwards bytes between clients and servers. Each connection is sent to the next running server. */
export class Relay {
  readonly #server: Server
  readonly #ports: () => readonly number[]
  readonly #pairs = new Set<Pair>()
  #turn = 0
  /** What happens to each later connection. */
  #fault: ((pair: Pair) => void) | undefined
  #last: { text: string, reached: () => void } | undefined

  private constructor (ports: () => readonly number[]) {
    this.#ports = ports
    this.#server = createServer(down => this.#accept(down))
  }

  /** `ports` returns the ports of the running servers. */
  static async start (t: { teardown: (fn: () => unknown) => unknown }, ports: () => readonly number[]): Promise<Relay> {
    const relay = new Relay(ports)
    relay.#server.listen(0, '127.0.0.1')
    await once(relay.#server, 'listening')
    t.teardown(() => {
      relay.#server.close()
      relay.cut()
    })
    return relay
  }

  get port (): number { return (this.#server.address() as AddressInfo).port }

  /** The number of connections. */
  get size (): number { return this.#pairs.size }

  /** Bytes that were received from the server for the connection from a port. */
  taken (port: number | undefined): number {
    for (const { down, up } of this.#pairs) if (down.remotePort === port) return up.bytesRead
    return -1
  }

  /**
   * Drops all bytes of the servers from now on, on later connections too, until all are cut; or only on the current
   * ones.
   */
  lose (later = true): void {
    this.#suffer(pair => this.#loseOf(pair), later)
  }

  /** Drops all bytes in both directions of the current connections, which stay open. */
  silence (): void {
    this.#suffer(pair => {
      this.#loseOf(pair)
      pair.down.unpipe(pair.up)
      pair.down.on('data', () => {}).resume()
    }, false)
  }

  /** Forwards all bytes later, also on later connections, until all are cut. */
  delay (time: number): void {
    this.#suffer(({ down, up }) => {
      for (const [from, to] of [[down, up], [up, down]] as const) {
        from.unpipe(to)
        from.on('data', bytes => setTimeout(() => { if (!to.destroyed) to.write(bytes) }, time)).resume()
      }
    }, true)
  }

  /** True if bytes were lost on every connection. */
  get hasLost (): boolean { return [...this.#pairs].every(({ lost }) => lost > 100) }

  /** Cuts all connections, with the bytes on their way. */
  cut (): void {
    this.#fault = undefined
    for (const { down, up } of this.#pairs) {
      down.resetAndDestroy()
      up.destroy()
    }
    this.#pairs.clear()
  }

  /**
   * Cuts all connections after these milliseconds, and again and again. Each time is a little longer than the one
   * before, so that a busy machine connects and gets answers in between. Returns the function that stops it.
   */
  keepCutting (t: { teardown: (fn: () => unknown) => unknown }, first: number): () => void {
    let time = first
    let timer: NodeJS.Timeout
    const wait = (): void => {
      timer = setTimeout(() => {
        this.cut()
        time *= 1.05
        wait()
      }, time)
    }
    const stop = (): void => clearTimeout(timer)
    wait()
    t.teardown(stop)
    return stop
  }

  /**
   * Forwards the bytes of a server up to this text, on the first connection that has it, and drops the rest. Resolves
   * when done.
   */
  holdAfter (text: string): Promise<void> {
    return new Promise(resolve => {
      this.#last = { text: Buffer.from(text).toString('latin1'), reached: resolve }
      for (const pair of this.#pairs) this.#listenTo(pair)
    })
  }

  #accept (down: Socket): void {
    const ports = this.#ports()
    const first = this.#turn++ % Math.max(1, ports.length)
    down.on('error', () => {})
    this.#connect(down, [...ports.slice(first), ...ports.slice(0, first)])
  }

  #connect (down: Socket, [port, ...others]: readonly number[]): void {
    if (down.destroyed) return
    if (port === undefined) {
      down.destroy()
      return
    }
    const up = connect(port, '127.0.0.1').on('error', () => {})
    const next = (): void => this.#connect(down, others)
    up.once('close', next)
    up.once('connect', () => {
      up.off('close', next)
      this.#join({ down, up, lost: 0 })
    })
  }

  #join (pair: Pair): void {
    const { down, up } = pair
    this.#pairs.add(pair)
    const over = (): void => {
      this.#pairs.delete(pair)
      up.destroy()
      // Bytes that the server sent before its end are still forwarded.
      if (up.readableEnded) down.end()
      else down.destroy()
    }
    up.once('close', over)
    down.once('close', over).once('end', over)
    if (down.destroyed) return over()
    down.pipe(up)
    up.pipe(down)
    this.#fault?.(pair)
    if (this.#last !== undefined) this.#listenTo(pair)
  }

  #suffer (fault: (pair: Pair) => void, later: boolean): void {
    this.#fault = later ? fault : undefined
    for (const pair of this.#pairs) fault(pair)
  }

  #listenTo (pair: Pair): void {
    const { down, up } = pair
    let said = ''
    const listen = (bytes: Buffer): void => {
      const before = said.length
      said += bytes.toString('latin1')
      const at = this.#last === undefined ? -1 : said.indexOf(this.#last.text)
      if (at === -1) {
        down.write(bytes)
        return
      }
      const { text, reached } = this.#last!
      this.#last = undefined
      up.off('data', listen)
      this.#loseOf(pair)
      down.write(bytes.subarray(0, at + text.length - before), () => reached())
    }
    up.unpipe(down)
    up.on('data', listen).resume()
  }

  #loseOf (pair: Pair): void {
    pair.up.unpipe(pair.down)
    pair.up.on('data', bytes => { pair.lost += bytes.length }).resume()
  }
}
