import { setTimeout as sleep } from 'node:timers/promises'

export interface GenerateOptions {
  /** The most tokens to make. */
  limit: number
  /** Aborts when nobody waits for the answer any more. */
  signal: AbortSignal
  /** Milliseconds from one token to the next. Default 40. */
  pace?: number
}

/** What the endpoint needs of a model: a prompt goes in, tokens come out one by one. */
export type Generate = (prompt: string, options: GenerateOptions) => AsyncIterable<string>

// All that this model has read.
const TEXT = `A stream is one response that stays open . The server writes an event when it has one , and the browser
shows it at once . An event is a few lines of text and an empty line . When the connection breaks , the browser connects
again by itself and tells the server which event it saw last . The server begins after that event , so the browser misses
nothing . A client that leaves closes the connection , and the server stops its work at once . A slow client takes its
time , and the server waits for it . A token is a few letters of text . The model writes one token at a time , so the
reader sees the first words at once and the last words when the model has them . A reader who has seen enough closes the
connection , and the model stops .`

const words = `. ${TEXT}`.split(/\s+/)

// A Markov chain: which words follow two words, or the end of a sentence.
const context = (before: string, word: string): string => word === '.' ? word : `${before} ${word}`
const followers = new Map<string, string[]>()
for (let i = 0; i + 1 < words.length; i++) {
  const key = context(words[i - 1] ?? '', words[i]!)
  followers.set(key, [...followers.get(key) ?? [], words[i + 1]!])
}

const SENTENCES = 4

/** A stand-in for a language model: a chain of words, the same for the same prompt. It stops when the signal aborts. */
export async function * generate (prompt: string, { limit, signal, pace = 40 }: GenerateOptions): AsyncGenerator<string> {
  const dice = diceOf(prompt)
  let [before, word] = ['', '.']
  for (let n = 0, sentences = 0; n < limit && sentences < SENTENCES; n++) {
    await sleep(pace, undefined, { signal })
    const next = followers.get(context(before, word))!;
    [before, word] = [word, next[dice(next.length)]!]
    if (word === '.') sentences++
    yield n === 0 || word === '.' || word === ',' ? word : ` ${word}`
  }
}

/** Numbers below a bound that follow from a text: a linear congruential generator, seeded with its characters. */
function diceOf (text: string): (bound: number) => number {
  let state = 0
  for (const character of text) state = (Math.imul(state, 31) + character.codePointAt(0)!) >>> 0
  return bound => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * bound)
  }
}
