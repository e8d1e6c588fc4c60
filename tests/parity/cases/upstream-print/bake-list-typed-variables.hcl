variable "a" {
  type        = string
  default     = "x"
  description = "text"
}
variable "b" {
  type        = string
  description = "text without default"
}
variable "c" {
  type    = number
  default = 7
}
variable "d" {
  type        = list(string)
  default     = ["hi"]
  description = "texts"
}
variable "e" {
  type        = list(number)
  description = "numbers, none"
}
variable "f" {
  type    = tuple([number, string, bool])
  default = [7, "7", false]
}
variable "g" {
  type    = map(string)
  default = { k = "v" }
}
variable "h" {
  type        = set(bool)
  default     = null
  description = "null"
}
variable "i" {
  default     = ["x"]
  description = "no type, list"
}
variable "j" {
  default     = { k = "v" }
  description = "no type, object"
}
variable "k" {
  default     = false
  description = "no type, bool"
}
target "default" {}
