import { sharedScope } from '../../scope.ts'
import type { Commands } from './commands.ts'
import { toLogError } from './log-error.ts'
import * as scripts from './run-scripts.ts'

// Milliseconds between two registrations of one epoch, which keep its key alive.
const INTERVAL = 600_000
// Milliseconds until the next attempt after Redis rejected one: it may be full.
const RETRY = 15_000

interface Entry {
  readonly key: string
  readonly args: [name: string, age: number | '']
  readonly isWanted: () => boolean
  readonly settle: { resolve: () => void, reject: (error: unknown) => void }
}

// Keys per command.
const MAX_KEYS = 256

/** The names of channels by epoch: one key each, which may be on another server of a cluster than the channel. */
export class EpochIndex {
  readonly #commands: Pick<Commands, 'run'>
  readonly #prefix: string
  /** Entries of one step in one command; in a cluster, their keys have different slots. */
  readonly #maxKeys: number
  #pending: Entry[] = []

  constructor (commands: Pick<Commands, 'run'>, prefix: string, isCluster = false) {
    this.#commands = commands
    this.#prefix = prefix
    this.#maxKeys = isCluster ? 1 : MAX_KEYS
  }

  /** Returns the name of the channel whose log has this epoch; undefined if there is none. */
  async locate (epoch: string, isWanted: () => boolean): Promise<string | undefined> {
    try {
      return await this.#commands.run(scripts.locate, [this.#keyOf(epoch)], [], isWanted) || undefined
    } catch (error) {
      throw toLogError(epoch, error)
    }
  }

  /** Returns the registration of one channel. `age`: milliseconds that its log lives without use. */
  of (name: string, age: number, isWanted: () => boolean): EpochRegistration {
    const args: Entry['args'] = [name, age === Infinity ? '' : age + INTERVAL]
    return new EpochRegistration(epoch => new Promise((resolve, reject) => {
      this.#pending.push({ key: this.#keyOf(epoch), args, isWanted, settle: { resolve, reject } })
      if (this.#pending.length === 1) queueMicrotask(this.#registerAll)
    }))
  }

  readonly #registerAll = (): void => {
    const pending = this.#pending
    this.#pending = []
    for (let at = 0; at < pending.length; at += this.#maxKeys) this.#register(pending.slice(at, at + this.#maxKeys))
  }

  async #register (entries: readonly Entry[]): Promise<void> {
    const isWanted = (): boolean => entries.some(({ isWanted }) => isWanted())
    try {
      const keys = entries.map(({ key }) => key)
      await this.#commands.run(scripts.register, keys, entries.flatMap(({ args }) => args), isWanted)
      for (const { settle } of entries) settle.resolve()
    } catch (error) {
      for (const { settle } of entries) settle.reject(error)
    }
  }

  // No key of a channel has this form: the prefix is followed by a brace there.
  #keyOf (epoch: string): string { return `${this.#prefix}epoch:${epoch}` }
}

/** Registers each epoch of one channel before an id with it is known, and from time to time while it is used. */
export class EpochRegistration {
  readonly #register: (epoch: string) => Promise<void>
  #epoch = ''
  #dueAt = 0
  #pending: Promise<void> | undefined

  constructor (register: (epoch: string) => Promise<void>) {
    this.#register = register
  }

  /** Returns a promise only if the epoch is being registered. */
  keep (epoch: string): Promise<void> | undefined {
    const now = performance.now()
    if (epoch !== this.#epoch || now >= this.#dueAt) {
      this.#epoch = epoch
      this.#dueAt = now + INTERVAL
      // The registration is for all users of the channel.
      const pending = this.#pending = sharedScope.runInAsyncScope(this.#register, undefined, epoch)
        .catch(() => { this.#dueAt = now + RETRY })
        .finally(() => { if (this.#pending === pending) this.#pending = undefined })
    }
    return this.#pending
  }
}
