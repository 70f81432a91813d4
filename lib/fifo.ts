/** First in, first out, at the same cost however many wait: `shift` of a large array moves all of it. */
export class Fifo<T> {
  #items: Array<T | undefined> = []
  #first = 0

  get size (): number { return this.#items.length - this.#first }

  /** The one that `shift` takes next. */
  get first (): T | undefined { return this.#items[this.#first] }

  push (item: T): void {
    this.#items.push(item)
  }

  shift (): T | undefined {
    if (this.size === 0) return undefined
    const item = this.#items[this.#first]
    this.#items[this.#first++] = undefined
    if (this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first)
      this.#first = 0
    }
    return item
  }

  /** A copy of those from one place up to another, counted from the first. */
  slice (from: number, to: number): T[] {
    return this.#items.slice(this.#first + from, this.#first + to) as T[]
  }

  /** Takes all of them out. */
  clear (): T[] {
    const rest = this.#items.slice(this.#first) as T[]
    this.#items = []
    this.#first = 0
    return rest
  }
}
