target "default" {
  platforms = [""," "]
}
