target "default" { annotations = ["com.example=a"] }
