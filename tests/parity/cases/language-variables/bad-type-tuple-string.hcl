variable "A" { type = tuple(string) }
target "default" {
  args = {
    v = "x"
  }
}
