"""The tab's style sheet: the board's own colours, so that everything is light or dark with it."""

CSS = """
/* gradio fades what is being updated; what is looked at every two seconds would flicker */
#dba_tab .pending { opacity: 1 !important; }

/* where the keyboard is: gradio shows it for fields to type in only */
#dba_tab :is(button, [type="checkbox"], [type="radio"], .dba-wide):focus-visible {
  outline: 2px solid var(--color-accent) !important; outline-offset: 2px; }

.dba-wide { overflow: auto; max-height: 34rem; max-width: 100%; border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-sm); }
.prose .dba-wide table { border-collapse: collapse; border: 0; width: 100%; margin: 0; font-size: var(--text-sm);
  color: var(--body-text-color); font-variant-numeric: tabular-nums; }
.prose .dba-wide :is(tr, th, td) { border: 0; }
.prose .dba-wide th, .prose .dba-wide td { padding: .3rem .6rem; border-bottom: 1px solid var(--border-color-primary);
  text-align: left; vertical-align: top; color: inherit; }
.prose .dba-wide thead th { position: sticky; top: 0; z-index: 1; background: var(--background-fill-secondary);
  white-space: nowrap; font-weight: 600; }
.prose .dba-wide tbody th { font-weight: 600; min-width: 9rem; max-width: 18rem; overflow-wrap: anywhere; }
.prose .dba-wide tr.group th { padding-top: .8rem; background: var(--background-fill-secondary); }
.prose .dba-wide td.n, .prose .dba-wide th.n { text-align: right; white-space: nowrap; }
.prose .dba-wide td.w { min-width: 12rem; overflow-wrap: anywhere; }
.prose .dba-wide small { display: block; font-weight: 400; color: var(--body-text-color-subdued);
  overflow-wrap: anywhere; }
.dba-note { font-size: var(--text-sm); color: var(--body-text-color-subdued); margin: .4rem 0 0; }
.dba-figure { margin: .5rem 0; color: var(--body-text-color); overflow-x: auto; }
.dba-figure svg { display: block; width: 100%; max-width: 44rem; height: auto; font-family: system-ui, sans-serif; }
.dba-figure.curves svg { max-width: 66rem; min-width: 40rem; }
.dba-report iframe { width: 100%; height: 80vh; border: 1px solid var(--border-color-primary); border-radius:
  var(--radius-sm); }
"""
