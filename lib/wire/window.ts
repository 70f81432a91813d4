/** The last bytes of a text that grows, in one buffer that is made at the first append. */
export class Window {
  #buffer = Buffer.alloc(0)
  /** The stored text is the bytes from `#start` to `#end`, and the last append is `#last` of them. */
  #start = 0
  #end = 0
  #last = 0
  /** Whether the last append is stored in part: the bytes in front of it do not continue it. */
  #cut = false

  /** The number of bytes that are stored from before the last append. */
  get length (): number { return this.#end - this.#last - this.#start }

  /** The memory of the buffer. */
  get capacity (): number { return this.#buffer.length }

  /**
   * Appends bytes. Stores the last `keep` of them at least, and as many from before them. The memory is twice the
   * largest `keep`.
   */
  append (bytes: Buffer, keep: number): void {
    if (this.#cut) this.#start = this.#end - this.#last
    const stored = bytes.subarray(-keep)
    if (this.#end + stored.length > this.#buffer.length) this.#move(keep)
    this.#end += stored.copy(this.#buffer, this.#end)
    this.#last = stored.length
    this.#cut = stored.length < bytes.length
  }

  /** Returns the last bytes before the last append, as many of `size` as there are. The next append changes them. */
  before (size: number): Buffer {
    const end = this.#end - this.#last
    return this.#buffer.subarray(Math.max(this.#start, end - size), end)
  }

  /** Moves the last bytes to the start of the buffer. */
  #move (keep: number): void {
    const rest = this.#buffer.subarray(Math.max(this.#start, this.#end - keep), this.#end)
    if (this.#buffer.length < 2 * keep) this.#buffer = Buffer.allocUnsafeSlow(2 * keep)
    this.#start = 0
    this.#end = rest.copy(this.#buffer)
  }
}
