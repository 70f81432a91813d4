/** Fills the places of a document: the lines after each `<!-- bench: NAME -->`, up to an empty line. */
export function filled (document: string, blocks: ReadonlyMap<string, string>): string {
  return document.replace(/^(<!-- bench: (.+) -->\n)(?:.+\n)*/gm, (place: string, marker: string, name: string) => {
    const block = blocks.get(name)
    return block === undefined ? place : `${marker}${block}\n`
  })
}

/** The names of the blocks without a place in the document. */
export const homeless = (document: string, blocks: ReadonlyMap<string, string>): string[] =>
  [...blocks.keys()].filter(name => !document.includes(`<!-- bench: ${name} -->\n`))
