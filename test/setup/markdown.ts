import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A fenced block of code. Its heading is the one of second level before it. */
export interface CodeBlock { heading: string, language: string, code: string }

/** A table. Its heading is the last one before it, of any level. Cells are Markdown. */
export interface Table { heading: string, head: string[], rows: string[][] }

const below = (folder: string): string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.md'))
  .map(name => join(folder, name))
  .toSorted()

/** Every Markdown file of the repository. */
export const MARKDOWN_FILES = ['README.md', 'CHANGELOG.md', ...['.github', 'lib', 'test', 'example'].flatMap(below)]

/** Returns the fenced blocks of code of a Markdown file. */
export function codeBlocksOf (path: string): CodeBlock[] {
  const blocks: CodeBlock[] = []
  for (const section of readFileSync(path, 'utf8').split(/^## /m)) {
    const heading = section.slice(0, section.indexOf('\n'))
    for (const [, language = '', code = ''] of section.matchAll(/^```(\w+)\n(.*?)^```$/gms)) {
      blocks.push({ heading, language, code })
    }
  }
  return blocks
}

/** Returns the text of a Markdown file without its blocks of code, whose lines may look like headings and links. */
export const proseOf = (path: string): string => readFileSync(path, 'utf8').replace(/^```.*?^```$/gms, '')

/** Returns the headings of a Markdown file, of all levels. */
export const headingsOf = (path: string): string[] =>
  [...proseOf(path).matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => text)

/** Returns the anchors of the headings of a Markdown file, as GitHub makes them. */
export function anchorsOf (path: string): string[] {
  const seen = new Map<string, number>()
  return headingsOf(path).map(heading => {
    const slug = heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')
    const count = seen.get(slug) ?? 0
    seen.set(slug, count + 1)
    return count === 0 ? slug : `${slug}-${count}`
  })
}

/** Returns the targets of the links and images of a Markdown file. */
export const linksOf = (path: string): string[] =>
  [...proseOf(path).replace(/`[^`\n]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)

const cellsOf = (line: string): string[] => line.split(/(?<!\\)\|/).slice(1, -1).map(cell => cell.trim())

/** Returns the tables of a Markdown file. */
export function tablesOf (path: string): Table[] {
  const tables: Table[] = []
  let heading = ''
  let table: Table | undefined
  for (const line of proseOf(path).split('\n')) {
    heading = /^#+ (.+)$/.exec(line)?.[1] ?? heading
    if (!line.startsWith('|')) table = undefined
    else if (table === undefined) tables.push(table = { heading, head: cellsOf(line), rows: [] })
    else if (!/^[| :-]+$/.test(line)) table.rows.push(cellsOf(line))
  }
  return tables
}

/** Returns the rows of all tables of a Markdown file whose first columns have these heads. */
export const rowsOf = (path: string, ...head: string[]): string[][] => tablesOf(path)
  .filter(table => head.every((text, index) => table.head[index] === text))
  .flatMap(({ rows }) => rows)
