/** What was told of a list of rows, so that it is told once. */
export class Changes<R extends { readonly id: string | number }> {
  #told = new Map<R['id'], string>()

  /** The rows that came or changed since the last call, and the ids of those that went. */
  since (rows: readonly R[]): { rows: R[], gone: Array<R['id']> } {
    const now = new Map(rows.map(row => [row.id, JSON.stringify(row)]))
    const changed = rows.filter(({ id }) => this.#told.get(id) !== now.get(id))
    const gone = [...this.#told.keys()].filter(id => !now.has(id))
    this.#told = now
    return { rows: changed, gone }
  }
}
