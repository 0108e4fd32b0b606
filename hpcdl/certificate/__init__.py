"""Certificates: what an acceptance concluded, with the records that it follows from, to be signed and verified.

    <DIR>/certificate.json       what was asked, the verdict, who signs
          certificate.md         the same for people; and certificate.html and certificate.pdf, as asked
          records/               the acceptance as it was kept: acceptance.json, fleet.jsonl, states.jsonl, runs/…
          manifest.json          SHA-256 of all other files
          manifest.json.sig      its signature by `ssh-keygen -Y sign`, where there is one

A certificate is read as what a stranger may have made: only plain files, in names that need no escaping, up to a size.
"""
