target "z" { 
 inherits = ["a"]
 contexts = {q = "target:a"}
}
