import { Fifo } from '../../fifo.ts'
import { sharedScope } from '../../scope.ts'
import { newEpoch } from '../epoch.ts'
import { append } from './append-script.ts'
import { ReplyError, type Commands } from './commands.ts'

/** The arguments of a command, as the script receives them. */
export interface AppendCommand {
  /** The hash and the stream of each channel. */
  readonly keys: string[]
  /** The keys of appends by key, of all channels. */
  readonly keyed: string[]
  readonly args: Array<string | number>
  records: number
  /** Characters of their data. */
  size: number
}

/** The appends of one channel. It has one batch under way at a time. */
export interface AppendSource {
  /** Adds its next batch to the command. Returns false if no caller waits any more. */
  addTo: (command: AppendCommand) => boolean
  /** Whether a caller still waits for the batch under way. */
  readonly isWanted: boolean
  /** Receives the line of the channel in the answer of the script. */
  answered: (line: string) => void
  failed: (error: unknown) => void
}

export interface BatchOptions {
  /** The begin of the keys of receipts. */
  readonly key: string
  /** The number of commands under way at a time. */
  readonly count: number
  readonly publish: string
  /** The end of the names of Redis channels, after the key of the hash. */
  readonly suffix: string
  readonly secret: string
}

/** A command at a time. Its answer can be requested again by the key of the receipt, and the number of the command. */
interface Sender { readonly receipt: string, number: number, busy: boolean }

const MAX_RECORDS = 256
const MAX_CHARACTERS = 128 * 1024

const isWanted = (source: AppendSource): boolean => source.isWanted

/** Whatever one channel throws, the others get their answers. */
function settle (source: AppendSource, line: string): void {
  try {
    if (line.startsWith('-')) source.failed(new ReplyError(line.slice(1)))
    else source.answered(line)
  } catch (error) {
    source.failed(error)
  }
}

/**
 * Joins the appends of many channels in one command of Redis. While all senders wait for answers, appends queue up: the
 * higher the load, the lower the cost of an append. A channel has one batch under way at a time, so the senders keep
 * its order.
 */
export class AppendBatches {
  readonly #commands: Pick<Commands, 'run' | 'ready'>
  readonly #options: BatchOptions
  readonly #senders: Sender[]
  readonly #waiting = new Fifo<AppendSource>()
  #scheduled = false

  constructor (commands: Pick<Commands, 'run' | 'ready'>, options: BatchOptions) {
    this.#commands = commands
    this.#options = options
    const key = `${options.key}${newEpoch()}`
    const { count: length } = options
    this.#senders = Array.from({ length }, (_, n) => ({ receipt: `${key}:${n}`, number: 0, busy: false }))
  }

  /** Sends a batch of the channel, as soon as there is a sender. */
  add (source: AppendSource): void {
    this.#waiting.push(source)
    if (this.#scheduled) return
    this.#scheduled = true
    // Appends of the same step join the command.
    sharedScope.runInAsyncScope(queueMicrotask, undefined, this.#start)
  }

  readonly #start = (): void => {
    this.#scheduled = false
    for (const sender of this.#senders) {
      if (this.#waiting.size === 0) return
      if (!sender.busy) this.#run(sender)
    }
  }

  async #run (sender: Sender): Promise<void> {
    sender.busy = true
    while (this.#waiting.size > 0) {
      // Waits before it takes appends: those that are no longer wanted by then are not sent.
      const ready = this.#commands.ready()
      if (ready !== undefined) await ready
      await this.#send(sender)
    }
    sender.busy = false
  }

  async #send (sender: Sender): Promise<void> {
    const { publish, suffix, secret } = this.#options
    const args: Array<string | number> = [++sender.number, publish, suffix, secret, newEpoch(), 0]
    const command: AppendCommand = { keys: [sender.receipt], keyed: [], args, records: 0, size: 0 }
    const sources: AppendSource[] = []
    while (this.#waiting.size > 0 && command.records < MAX_RECORDS && command.size < MAX_CHARACTERS) {
      const source = this.#waiting.shift()!
      if (source.addTo(command)) sources.push(source)
    }
    if (sources.length === 0) return
    args[5] = sources.length
    let lines: string[]
    try {
      for (const key of command.keyed) command.keys.push(key)
      lines = await this.#commands.run(append, command.keys, args, () => sources.some(isWanted))
    } catch (error) {
      for (const source of sources) source.failed(error)
      return
    }
    for (let n = 0; n < sources.length; n++) settle(sources[n]!, lines[n] ?? '')
  }
}
