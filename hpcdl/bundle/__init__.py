"""Bundles: records with the report that was made from them, to be verified and made again by somebody else.

    <name>.tar.gz
      <top>/SHA256SUMS               checksums of all other files, as sha256sum writes and reads them
            hpcdl-bundle.json        what is in here, and how the report was asked for
            report.json, report.md   the report (and report.html, where that format is there)
            records/<run>/…          the records of each run, as they were

The same records give the same bytes: members are sorted, owners and modes are fixed, times are the records' own.
A bundle is read by `archive`, which takes nothing that `archive` would not have written.
"""
