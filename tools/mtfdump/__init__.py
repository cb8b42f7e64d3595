"""A second reader of Capstan's media, from server/media/format.md alone. See README.md."""
