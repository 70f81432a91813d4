import { ending } from './page/ending.ts'
import { figures } from './page/figures.ts'
import { format } from './page/format.ts'
import { markup } from './page/markup.ts'
import { script } from './page/script.ts'
import { style } from './page/style.ts'
import { table } from './page/table.ts'
import { tail } from './page/tail.ts'

/**
 * The files of the page, by the names that it calls them by. They are text in modules, with nothing to fill in: so they are where the code
 * is, in `dist` and in whatever a bundler makes of a server, and nothing has to be copied or found. What a browser runs is plain modules.
 */
export const files = {
  'inspector.html': markup,
  'inspector.css': style,
  'inspector.js': script,
  'ending.js': ending,
  'figures.js': figures,
  'format.js': format,
  'table.js': table,
  'tail.js': tail
}
