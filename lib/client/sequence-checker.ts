type Positions = ReadonlyMap<string, string>

/**
 * Checks that the ids of a stream of channels are consecutive: the offset of each event of a channel is one more than
 * the channel's last known offset. Any other event is a duplicate, or events before it are missing.
 */
export class SequenceChecker {
  #known: Positions | undefined

  /** Forgets the position: any id may be next. */
  forget (): void { this.#known = undefined }

  /** Sets the position. */
  move (id: string): void { this.#known = positionsOf(id) }

  /** Compares an event's id with the position. */
  check (id: string): 'next' | 'duplicate' | 'missing' {
    let ahead = 0
    // For another channel, or another epoch of it, nothing is known: NaN is neither 0 nor greater than 1.
    for (const [epoch, offset] of positionsOf(id)) {
      ahead += Math.max(0, Number(offset) - Number(this.#known?.get(epoch)))
    }
    return ahead > 1 ? 'missing' : ahead === 0 ? 'duplicate' : 'next'
  }
}

/** Returns epoch -> offset; dots join the channels of one stream. */
const positionsOf = (id: string): Positions => new Map(id.split('.').map(part => part.split('-') as [string, string]))
