type Positions = ReadonlyMap<string, string>

/**
 * Where a channel's stream stands, and whether what comes next is next: each event of a channel has an offset one more than what
 * was told of that channel before it, or else something was lost, or came twice.
 */
export class Place {
  #known: Positions | undefined

  /** What follows begins anywhere. */
  forget (): void { this.#known = undefined }

  /** It stands there. */
  move (id: string): void { this.#known = positionsOf(id) }

  /** An event of that id. */
  judge (id: string): 'next' | 'double' | 'hole' {
    const at = positionsOf(id)
    let ahead = 0
    for (const [epoch, offset] of at ?? []) {
      const step = Number(offset) - Number(this.#known?.get(epoch))
      // Nothing is known of it.
      if (Number.isNaN(step)) ahead = NaN
      else if (step > 0) ahead += step
    }
    if (ahead > 1) return 'hole'
    return ahead === 0 && at !== undefined ? 'double' : 'next'
  }
}

/** Epoch -> offset; several channels of one stream are joined by dots. */
function positionsOf (id: string): Positions | undefined {
  const parts = id.split('.').map(part => part.split('-') as [string, string])
  return parts.every(part => part.length === 2) ? new Map(parts) : undefined
}
