"""The wheel, installed beside applications of users, and the image."""
