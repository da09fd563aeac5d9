import "./base.css";
import "./promotion.css";
