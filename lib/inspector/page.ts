import { endDialog } from './page/end-dialog.ts'
import { figures } from './page/figures.ts'
import { format } from './page/format.ts'
import { markup } from './page/markup.ts'
import { script } from './page/script.ts'
import { style } from './page/style.ts'
import { table } from './page/table.ts'
import { tail } from './page/tail.ts'

/**
 * The files of the page by name. They are texts in modules of this package, without placeholders: they are in `dist`
 * and in the output of a bundler without copying or locating files. The browser runs them as plain modules.
 */
export const files = {
  'inspector.html': markup,
  'inspector.css': style,
  'inspector.js': script,
  'end-dialog.js': endDialog,
  'figures.js': figures,
  'format.js': format,
  'table.js': table,
  'tail.js': tail
}
