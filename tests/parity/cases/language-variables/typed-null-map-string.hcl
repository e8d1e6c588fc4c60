variable "A" { type = map(string) }
target "default" {
  args = {
    v = A == null
  }
}
