import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { logEntry } from '../log-entry.ts'
import type { LogBatch, LogEntry, LogRecord } from '../log.ts'
import { fingerprintOf, type KnownPosition } from './channel-state.ts'

/** Consecutive entries of one channel, from a notification. */
export interface SealedBatch extends LogBatch {
  /** The time of all entries: one append has added them. */
  readonly at: number
  /** The time of the entry before them. */
  readonly before: number
}

/** A record of an append, and the index of its channel, from 1. */
export interface IndexedRecord { readonly index: number, readonly record: LogRecord }

/** A channel of a notification: the hash of its name, the state after the append, and the time of the entry before. */
interface Head {
  readonly nameHash: string
  readonly newest: number
  readonly epoch: string
  readonly at: number
  readonly before: number
}

/** A channel of a notification with entries. */
export interface SealedHead extends Head {
  /** Returns the entries; undefined if another program has sent the text. */
  readonly batch: () => SealedBatch | undefined
}

/** A notification with entries. */
export interface SealedNotification {
  readonly heads: readonly Head[]
  /** Returns the entries of each channel; undefined for a text of another program, or with another secret. */
  readonly batches: () => readonly SealedBatch[] | undefined
}

/** The records of an append, encrypted, for several notifications. */
export interface EncryptedRecords {
  readonly texts: readonly string[]
  /** For each channel of each text, in its order: the index of the text, and that of the channel, both from 1. */
  readonly textOf: readonly number[]
  readonly channelOf: readonly number[]
}

/** `later`: the number of records of the channel that follow in the append. */
type PackedRecord =
  [head: number, later: number, event: string, data: string, json: boolean, fingerprint: string | null]

// A payload of NOTIFY has less than 8000 bytes. A head: a hash of 20 characters, an epoch of 12, three numbers of 16.
const MAX_SIZE = 7_900
const HEAD_SIZE = 87
const SEAL_SIZE = 67
// With more notifications, a read by each node costs less.
const MAX_TEXTS = 16
const [IV_SIZE, TAG_SIZE] = [12, 16]
const MAX_BYTES = (MAX_SIZE - SEAL_SIZE) * 3 / 4 - IV_SIZE - TAG_SIZE - 4
const CIPHER = 'aes-256-gcm'

/**
 * The entries of an append in its notifications, so that other nodes need not read them. Any role of the database
 * receives notifications, and may send them: the node encrypts the entries, and the database seals them with their
 * positions. Both use a secret of the schema. Only a role that may read its tables knows it.
 *
 * Format: `= <seal> `, `<hash> <newest> <epoch> <at> <before> ` for each channel, and the encrypted records.
 */
export class EntrySeal {
  readonly #secret: string
  readonly #key: Buffer

  constructor (secret: string) {
    this.#secret = secret
    this.#key = createHash('sha256').update(`entries ${secret}`).digest()
  }

  /** Encrypts the records of an append; returns undefined if they do not fit into MAX_TEXTS notifications. */
  encrypt (records: readonly IndexedRecord[]): EncryptedRecords | undefined {
    const later = new Map<number, number>()
    for (const { index } of records) later.set(index, (later.get(index) ?? 0) + 1)
    const [texts, textOf, channelOf]: [string[], number[], number[]] = [[], [], []]
    let [heads, packed, size] = [new Map<number, number>(), [] as string[], 0]
    const finish = (): void => {
      texts.push(this.#encrypt(`[${packed.join()}]`))
      for (const index of heads.keys()) {
        textOf.push(texts.length)
        channelOf.push(index)
      }
      heads = new Map()
      packed = []
      size = 0
    }
    for (const { index, record } of records) {
      later.set(index, later.get(index)! - 1)
      const pack = (): string => JSON.stringify([heads.get(index) ?? heads.size, later.get(index)!, record.event,
        record.data, record.json, fingerprintOf(record)] satisfies PackedRecord)
      let text = pack()
      // A head is sent as it is. Base64 makes four bytes of three from the rest.
      const sizeOf = (): number => Buffer.byteLength(text) + 1 + (heads.has(index) ? 0 : HEAD_SIZE * 3 / 4)
      if (size + sizeOf() > MAX_BYTES) {
        if (packed.length === 0 || texts.length + 2 > MAX_TEXTS) return undefined
        finish()
        text = pack()
        if (sizeOf() > MAX_BYTES) return undefined
      }
      size += sizeOf()
      packed.push(text)
      if (!heads.has(index)) heads.set(index, heads.size)
    }
    finish()
    return { texts, textOf, channelOf }
  }

  /** Parses a notification; returns undefined for any other text. Decrypts it only when its entries are needed. */
  parse (payload: string): SealedNotification | undefined {
    const [sign, seal, ...parts] = payload.split(' ')
    if (sign !== '=' || parts.length % 5 !== 1) return undefined
    const heads = Array.from({ length: (parts.length - 1) / 5 }, (_, n) => ({
      nameHash: parts[5 * n]!,
      newest: Number(parts[5 * n + 1]),
      epoch: parts[5 * n + 2]!,
      at: Number(parts[5 * n + 3]),
      before: Number(parts[5 * n + 4])
    }))
    let batches: readonly SealedBatch[] | undefined
    let opened = false
    return {
      heads,
      batches: () => {
        if (!opened && this.#seals(payload.slice(SEAL_SIZE), seal!)) batches = this.#decrypt(heads, parts.at(-1)!)
        opened = true
        return batches
      }
    }
  }

  #encrypt (text: string): string {
    const iv = randomBytes(IV_SIZE)
    const cipher = createCipheriv(CIPHER, this.#key, iv)
    return Buffer.concat([iv, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64')
  }

  #seals (text: string, seal: string): boolean {
    return createHash('sha256').update(this.#secret).update(text).update(this.#secret).digest('hex') === seal
  }

  #decrypt (heads: readonly Head[], encrypted: string): SealedBatch[] | undefined {
    const bytes = Buffer.from(encrypted, 'base64')
    let text: string
    try {
      const decipher = createDecipheriv(CIPHER, this.#key, bytes.subarray(0, IV_SIZE), { authTagLength: TAG_SIZE })
      decipher.setAuthTag(bytes.subarray(-TAG_SIZE))
      const plain = decipher.update(bytes.subarray(IV_SIZE, -TAG_SIZE))
      text = Buffer.concat([plain, decipher.final()]).toString()
    } catch {
      // A node has encrypted them before the tables were created anew, with another secret.
      return undefined
    }
    const entries = heads.map((): LogEntry[] => [])
    for (const [head, later, event, data, json, fingerprint] of JSON.parse(text) as PackedRecord[]) {
      entries[head]!.push(logEntry(heads[head]!.newest - later, event, data, json, fingerprint))
    }
    return heads.map(({ epoch, at, before }, head) =>
      ({ epoch, newest: entries[head]!.at(-1)!.offset, at, before, ended: false, entries: entries[head]! }))
  }
}

/** Whether the newest entry is another one than the known one of its offset: the database has lost that one. */
export const contradicts = ({ epoch, newest, at }: Head, known: KnownPosition): boolean =>
  epoch === known.epoch && newest === known.offset && at !== known.at

/** Whether entries between the known position and a notification are missing: then it says nothing about it. */
export const isBeyond = ({ epoch, entries }: SealedBatch, known: KnownPosition): boolean =>
  epoch === known.epoch && entries[0]!.offset > known.offset + 1

/**
 * Returns the position that is known after the entries of a notification; the same one for earlier entries, and for
 * another epoch. Undefined: they contradict it, so the database has lost it.
 */
export function positionAfter (batch: SealedBatch, known: KnownPosition): KnownPosition | undefined {
  const { epoch, newest, at, before, entries } = batch
  if (epoch !== known.epoch || newest < known.offset) return known
  if (!isBeyond(batch, known) && known.at !== (entries[0]!.offset > known.offset ? before : at)) return undefined
  return newest > known.offset ? { epoch, offset: newest, at } : known
}
