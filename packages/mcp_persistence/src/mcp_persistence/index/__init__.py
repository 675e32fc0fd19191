"""What is derived from the segment log, so that nothing needs to be searched for: always remakeable."""
