"""Images, masks and archives in and out."""
