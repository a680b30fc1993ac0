"""Mail: mbox, Maildir and .eml files into `raw.messages`, and from there into `canonical.mail`."""
