"""What watches production."""
