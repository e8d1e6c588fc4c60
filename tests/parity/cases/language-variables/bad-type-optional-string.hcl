variable "A" { type = optional(string) }
target "default" {
  args = {
    v = "x"
  }
}
