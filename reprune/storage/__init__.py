"""Store files in a folder or an S3 bucket behind one interface with conditional writes."""
