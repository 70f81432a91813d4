type Positions = ReadonlyMap<string, string>

/**
 * Where a channel's stream stands, and whether what comes next is next: each event of a channel has an offset one more than what
 * was told of that channel before it, or else something was lost, or came twice.
 */
export class SequenceChecker {
  #known: Positions | undefined

  /** What follows begins anywhere. */
  forget (): void { this.#known = undefined }

  /** It stands there. */
  move (id: string): void { this.#known = positionsOf(id) }

  /** What an event of that id is, here. */
  check (id: string): 'next' | 'double' | 'hole' {
    let ahead = 0
    // Of another channel, or another history of it, nothing is known: not a number, and neither of the two.
    for (const [epoch, offset] of positionsOf(id)) ahead += Math.max(0, Number(offset) - Number(this.#known?.get(epoch)))
    return ahead > 1 ? 'hole' : ahead === 0 ? 'double' : 'next'
  }
}

/** Epoch -> offset; several channels of one stream are joined by dots. */
const positionsOf = (id: string): Positions => new Map(id.split('.').map(part => part.split('-') as [string, string]))
