/**
 * Returns the references of a schema whose targets are not inside it: to schemas of `app.addSchema`, which the server
 * alone has.
 */
export function missingReferences (schema: object): string[] {
  const ids = new Set<unknown>()
  const references = new Set<string>()
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    const { $id, $ref } = node as { $id?: unknown, $ref?: unknown }
    ids.add($id)
    if (typeof $ref === 'string' && !$ref.startsWith('#')) references.add($ref)
    Object.values(node).forEach(visit)
  }
  visit(schema)
  return [...references].filter(reference => !ids.has(reference) && !ids.has(reference.replace(/#.*/s, '')))
}
