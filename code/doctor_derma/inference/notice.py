"""What a person reads wherever they meet a prediction."""

NOTICE = "This is not a diagnosis. Doctor Derma is not a medical device."
