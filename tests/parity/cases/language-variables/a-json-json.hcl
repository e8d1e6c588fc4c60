variable "A_JSON" { type = list(string) }
target "default" {
  args = {
    v = jsonencode(A_JSON)
  }
}
