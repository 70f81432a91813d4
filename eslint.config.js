import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', 'dist-client/**', '.tap/**'] }),
  {
    // A string, a template or a pattern stays in one piece.
    files: ['**/*.{js,ts}'],
    ignores: ['lib/inspector/page/**'],
    rules: {
      '@stylistic/member-delimiter-style': ['error', {
        multiline: { delimiter: 'none' }, singleline: { delimiter: 'comma', requireLast: false }
      }],
      '@stylistic/max-len': ['error', {
        code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true, ignoreUrls: true
      }]
    }
  },
  {
    // Merging FastifyReply takes its eight type parameters, used or not.
    files: ['lib/server/types.ts'],
    rules: { '@typescript-eslint/no-unused-vars': 'off' }
  }
]
