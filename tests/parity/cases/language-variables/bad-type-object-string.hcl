variable "A" { type = object(string) }
target "default" {
  args = {
    v = "x"
  }
}
