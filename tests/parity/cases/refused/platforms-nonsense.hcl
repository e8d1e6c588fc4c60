target "default" {
  platforms = ["nonsense"]
}
