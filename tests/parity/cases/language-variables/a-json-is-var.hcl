variable "A" { type = list(string) }
variable "A_JSON" { default = "q" }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
