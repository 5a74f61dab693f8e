"""The wheel, installed beside applications of users."""
