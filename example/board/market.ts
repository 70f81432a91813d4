import { EventEmitter } from 'node:events'

export const GROUPS = ['metals', 'food', 'energy'] as const

export interface Quote {
  symbol: string
  group: typeof GROUPS[number]
  price: number
  /** Per cent since the market opened. */
  change: number
}

const OPENING: Array<Pick<Quote, 'symbol' | 'group' | 'price'>> = [
  { symbol: 'Copper', group: 'metals', price: 9640 },
  { symbol: 'Gold', group: 'metals', price: 2384 },
  { symbol: 'Tin', group: 'metals', price: 31_250 },
  { symbol: 'Zinc', group: 'metals', price: 2725 },
  { symbol: 'Cocoa', group: 'food', price: 7810 },
  { symbol: 'Coffee', group: 'food', price: 4120 },
  { symbol: 'Rice', group: 'food', price: 318 },
  { symbol: 'Wheat', group: 'food', price: 244 },
  { symbol: 'Coal', group: 'energy', price: 118 },
  { symbol: 'Gas', group: 'energy', price: 36 },
  { symbol: 'Oil', group: 'energy', price: 82 },
  { symbol: 'Power', group: 'energy', price: 71 }
]

const INTERVAL = 120

/** A stand-in for the data of a dashboard: a state in memory, and an event for each change. */
export class Market extends EventEmitter<{ quote: [Quote] }> {
  /** The last quote of each symbol. */
  readonly quotes = new Map<string, Quote>(OPENING.map(quote => [quote.symbol, { ...quote, change: 0 }]))
  #timer: NodeJS.Timeout | undefined

  open (): void {
    this.#timer = setInterval(() => this.#move(), INTERVAL)
  }

  close (): void {
    clearInterval(this.#timer)
  }

  set (quote: Quote): void {
    this.quotes.set(quote.symbol, quote)
    this.emit('quote', quote)
  }

  /** Changes one price by half a per cent at most. */
  #move (): void {
    const { symbol, group, price: opening } = OPENING[Math.floor(Math.random() * OPENING.length)]!
    const price = Number((this.quotes.get(symbol)!.price * (0.995 + Math.random() * 0.01)).toFixed(2))
    this.set({ symbol, group, price, change: Number(((price / opening - 1) * 100).toFixed(2)) })
  }
}
