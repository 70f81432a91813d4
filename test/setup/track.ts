/** A received event, with its position. */
export interface Arrival { epoch: string, offset: number, event: string, data: string }

/**
 * Reads a stream of channels as a client that counts (R9), and throws if positions do not add up: an event advances one
 * position by one, and every other move is announced.
 */
export class Track {
  /** The received marks. */
  readonly marks: string[] = []
  readonly events: Arrival[] = []
  /** The current position, by epoch. */
  position = new Map<string, number>()
  dropped = 0
  resets = 0
  /** The first id of the stream. */
  first: string | undefined
  /** Between the first frame of a start position or a reset, and the frame with its id. */
  #starting = true
  #ended = false

  constructor (text: string) {
    for (const frame of text.split('\n\n').slice(0, -1)) this.#read(frame)
  }

  get id (): string { return [...this.position].map(([epoch, offset]) => `${epoch}-${offset}`).join('.') }

  #read (frame: string): void {
    const wrong = (what: string): never => {
      throw new Error(
        `${what}: ${JSON.stringify(frame)} after ${this.id || 'nothing'}, ${this.marks.join(', ') || 'no mark'}`
      )
    }
    if (frame === ':' || frame.startsWith('retry: ')) return
    if (this.#ended) wrong('something after the end')
    const [, mark, rest = ''] = /^: (replay|live)(?:\n|$)([^]*)$/.exec(frame) ?? [undefined, undefined, frame]
    if (mark !== undefined) {
      const fits = this.marks.length === 0
        ? rest !== ''
        : mark === 'live' && rest === '' && this.marks.join() === 'replay' && !this.#starting
      if (!fits) wrong('a mark')
      this.marks.push(mark)
      if (rest === '') return
    } else if (this.marks.length === 0) {
      wrong('no mark in front')
    }
    const fields: Record<string, string> = {}
    for (const line of rest.split('\n')) {
      const [, name = '', value = ''] = /^(\w+): (.*)$/.exec(line) ?? wrong('no field')
      fields[name] = name in fields ? `${fields[name]}\n${value}` : value
    }
    const { event = 'message', id, data } = fields
    if (event === 'sse.reset') this.resets++
    if (id === undefined) {
      // The error of a failed stream has no position: nothing follows it.
      if (!this.#starting && event === 'error') this.#ended = true
      else if (!this.#starting && event !== 'sse.reset' && event !== 'sse.gap') wrong('an event without a position')
      else this.#starting = true
      // A new snapshot follows, which has the state after the lost events.
      if (event === 'sse.gap') this.dropped += droppedIn(data)
      return
    }
    this.#move(event, id, data, wrong)
  }

  #move (event: string, id: string, data: string | undefined, wrong: (what: string) => never): void {
    const position = new Map(
      id.split('.').map(part => [part.slice(0, part.lastIndexOf('-')), Number(part.slice(part.lastIndexOf('-') + 1))])
    )
    const before = this.position
    const moves = [...position].filter(([epoch, offset]) => before.get(epoch) !== offset)
    const steps = moves.map(([epoch, offset]) => offset - (before.get(epoch) ?? NaN))
    this.first ??= id
    const dropped = event === 'sse.gap' ? droppedIn(data) : 0
    this.dropped += dropped
    if (data === undefined) wrong('an id that some engines do not keep')
    if (this.#starting) {
      this.#starting = false
    } else if (event === 'sse.reset') {
      if (moves.length !== 1) wrong('a reset of more than one channel')
    } else if (event === 'sse.gap') {
      // Merged events may be among the lost ones.
      if (moves.length !== 1 || steps[0]! < dropped) wrong('a gap that does not add up')
    } else if (event === 'sse.position') {
      if (data !== '') wrong('a position with data')
      if (moves.length === 0 || !steps.every(step => step > 0)) wrong('a position that moves nothing')
    } else {
      if (moves.length !== 1 || steps[0] !== 1) wrong('a jump')
      const [[epoch, offset]] = moves as [[string, number]]
      this.events.push({ epoch, offset, event, data: data! })
    }
    this.position = position
  }
}

const droppedIn = (data: string | undefined): number => (JSON.parse(data!) as { dropped: number }).dropped
