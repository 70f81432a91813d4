/** A FIFO queue. `shift` costs the same for any size; `shift` of a large array moves all its items. */
export class Fifo<T> {
  #items: Array<T | undefined> = []
  #first = 0

  get size (): number { return this.#items.length - this.#first }

  /** The item that the next `shift` returns. */
  get first (): T | undefined { return this.#items[this.#first] }

  push (item: T): void {
    this.#items.push(item)
  }

  shift (): T | undefined {
    if (this.size === 0) return undefined
    // A queue that never has more than one item needs no memory for each.
    if (this.#items.length === 1) return this.#items.pop()
    const item = this.#items[this.#first]
    this.#items[this.#first++] = undefined
    if (this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first)
      this.#first = 0
    }
    return item
  }

  /** Returns a copy of the items from one index up to another. The first item has index 0. */
  slice (from: number, to: number): T[] {
    return this.#items.slice(this.#first + from, this.#first + to) as T[]
  }

  /** Removes and returns all items. */
  clear (): T[] {
    const rest = this.#items.slice(this.#first) as T[]
    this.#items = []
    this.#first = 0
    return rest
  }
}
