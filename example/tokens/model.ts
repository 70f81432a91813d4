import { setTimeout as sleep } from 'node:timers/promises'

export interface GenerateOptions {
  /** The maximum number of tokens. */
  limit: number
  /** Aborts when no client waits for the answer. */
  signal: AbortSignal
  /** Milliseconds between two tokens. Default 40. */
  interval?: number
}

/** A model, as the endpoint uses it: takes a prompt and yields tokens. */
export type Generate = (prompt: string, options: GenerateOptions) => AsyncIterable<string>

// The training text of this model.
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

/**
 * A stand-in for a language model: a Markov chain, with the same answer for the same prompt. Stops when the signal
 * aborts.
 */
export async function * generate (
  prompt: string,
  { limit, signal, interval = 40 }: GenerateOptions
): AsyncGenerator<string> {
  const random = randomFrom(prompt)
  let [before, word] = ['', '.']
  for (let n = 0, sentences = 0; n < limit && sentences < SENTENCES; n++) {
    await sleep(interval, undefined, { signal })
    const next = followers.get(context(before, word))!;
    [before, word] = [word, next[random(next.length)]!]
    if (word === '.') sentences++
    yield n === 0 || word === '.' || word === ',' ? word : ` ${word}`
  }
}

/** Returns a pseudorandom generator of numbers below a bound: a linear congruential generator, seeded with a text. */
function randomFrom (text: string): (bound: number) => number {
  let state = 0
  for (const character of text) state = (Math.imul(state, 31) + character.codePointAt(0)!) >>> 0
  return bound => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * bound)
  }
}
