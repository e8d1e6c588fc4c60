variable "any" {
  type        = any
  default     = "x"
  description = "an \"any\""
}
variable "la" {
  type    = list(any)
  default = ["a\"b<", "c"]
}
variable "ts" {
  type    = string
  default = "say \"hi\""
}
variable "obj" {
  type    = object({ a = string, b = optional(number) })
  default = { a = "1" }
}
variable "u" { default = [1, "a", { x = null }] }
variable "n" { default = 1.5 }
variable "b" { default = true }
variable "z" { default = null }
variable "tn" { type = number }
variable "m" {
  type    = map(number)
  default = { b = 2, a = 1 }
}
variable "s" {
  type    = set(string)
  default = ["b", "a", "b"]
}
variable "tu" {
  type    = tuple([string, number])
  default = ["x", "5"]
}
variable "a_very_long_name_of_a_variable" { default = "tab\tx\nnl" }
variable "E" { default = "unset" }
variable "é" { default = "ünïcode" }
target "a" { description = "multi\nline" }
target "b" {}
target "c" {}
target "_p" { description = "hidden" }
group "c" { targets = ["b", "a"] }
group "d" {
  description = "with words"
  targets     = ["b", "a"]
}
group "e" {
  description = "empty"
  targets     = []
}
